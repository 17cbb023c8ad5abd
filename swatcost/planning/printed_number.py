"""A number as a paper prints it: which digits, and what they can be a number of."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from swatcost.common.errors import SwatcostError
from swatcost.common.registry import Registry

Notation = Literal["percentage", "fraction", "factor"]
Rounding = Literal["nearest", "truncation"]
Base = Literal["training", "inference", "activations", "weights"]

_WRITTEN = re.compile(r"(\d*)(?:\.(\d*))?\s*(%|[xX×])?", re.ASCII)
_MOST_DECIMALS = 9  # more than any paper prints, and few enough for floats to tell neighbours apart
_SLACK = 1e-6  # [last printed digits]: more than the rounding error of a computed number at that precision


@dataclass(frozen=True)
class PrintedNumber:
    """A printed number: `digits` · 10^−`decimals`, of a notation: 76.1% is 761 · 10⁻¹ %."""

    text: str
    digits: int
    decimals: int
    notation: Notation

    @property
    def scale(self) -> int:
        """Last printed digits in 1: 1000 for 76.1%, 100 for 0.23."""
        return int(10**self.decimals) * (100 if self.notation == "percentage" else 1)

    def digits_of(self, value: Any, rounding: Rounding) -> Any:
        """The digits that a number [-], or an array of them, would be printed with."""
        import numpy

        added = 0.5 if rounding == "nearest" else 0.0
        return numpy.floor(numpy.asarray(value) * self.scale + added + _SLACK).astype(numpy.int64)

    def values(self, rounding: Rounding) -> tuple[float, float]:
        """The least number [-] that is printed so, and the one that all of them are below."""
        low = self.digits - (0.5 if rounding == "nearest" else 0.0)
        return low / self.scale, (low + 1) / self.scale

    def shown(self, value: float, more: int = 0) -> str:
        """A number [-] in this notation, with `more` digits than are printed."""
        percentage = self.notation == "percentage"
        return f"{value * (100 if percentage else 1):.{self.decimals + more}f}{_MARKS[self.notation]}"


_MARKS: dict[Notation, str] = {"percentage": " %", "fraction": "", "factor": "×"}


def printed_number(text: str) -> PrintedNumber:
    """The printed number in a text: a percentage (76.1%), a factor (4.13×, or any above 1), or a fraction (0.23).

    Raises SwatcostError for anything else, and for a percentage of 100 and more.

    >>> printed_number("76.10 %")
    PrintedNumber(text='76.10 %', digits=7610, decimals=2, notation='percentage')
    """
    if not isinstance(text, str):
        raise SwatcostError(f"{text!r:.40}: give the number as it is printed, in quotes, so that its digits are known")
    match = _WRITTEN.fullmatch(text.strip())
    if match is None or not (match[1] or match[2]):
        raise SwatcostError(f"{text!r:.40} is not a printed number: give one such as 76.1%, 0.23 or 4.13x")
    decimals = len(match[2] or "")
    if decimals > _MOST_DECIMALS or len(match[1]) > _MOST_DECIMALS:
        raise SwatcostError(f"{text!r:.40} has more than {_MOST_DECIMALS} digits: give it as it is printed")
    digits = int(match[1] + (match[2] or ""))
    value = Decimal(digits).scaleb(-decimals)
    notation: Notation = "percentage" if match[3] == "%" else "factor" if match[3] or value > 1 else "fraction"
    if notation == "percentage" and value >= 100:
        raise SwatcostError(f"{text.strip()!r:.40}: a reduction or a ratio is below 100 %")
    if notation == "factor" and value < 1:
        raise SwatcostError(f"{text.strip()!r:.40}: a factor of dense over sparse is at least 1")
    return PrintedNumber(text.strip(), digits, decimals, notation)


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """What a printed number may be: a function of the share of dense work, or of elements, that is left [-].

    `base` says what is left of. `value` gives the number from the share, `share` the share from the number; `rises`
    says whether the number rises with the share.
    """

    name: str
    title: str
    base: Base
    notations: tuple[Notation, ...]
    value: Callable[[Any], Any]
    share: Callable[[Any], Any]
    rises: bool


def _reduction(name: str, title: str, base: Base) -> Quantity:
    return Quantity(
        name=name, title=title, base=base, notations=("percentage", "fraction"), value=_less, share=_less, rises=False
    )


def _ratio(name: str, title: str, base: Base) -> Quantity:
    return Quantity(
        name=name, title=title, base=base, notations=("percentage", "fraction"), value=_same, share=_same, rises=True
    )


def _factor(name: str, title: str, base: Base) -> Quantity:
    return Quantity(
        name=name, title=title, base=base, notations=("factor",), value=_inverse, share=_inverse, rises=False
    )


def _less(value: Any) -> Any:
    return 1 - value


def _same(value: Any) -> Any:
    return value


def _inverse(value: Any) -> Any:
    return 1 / value


QUANTITIES = Registry[Quantity](
    "quantity",
    Quantity,
    _reduction("training-reduction", "the reduction of training FLOPs", "training"),
    _ratio("training-ratio", "training FLOPs relative to dense", "training"),
    _reduction("inference-reduction", "the reduction of inference FLOPs", "inference"),
    _ratio("inference-ratio", "inference FLOPs relative to dense", "inference"),
    _reduction("activation-reduction", "the reduction of activations (Act ↓)", "activations"),
    _factor("training-factor", "dense over sparse training FLOPs", "training"),
    _factor("model-compression", "model compression (MC)", "weights"),
)
"""What a number may be. The first one of a notation in `USUAL` is what it is taken for without assuming anything."""

USUAL: dict[Notation, str] = {
    "percentage": "training-reduction",
    "fraction": "training-ratio",
    "factor": "training-factor",
}
"""What a number of each notation is taken for unless more is known."""
