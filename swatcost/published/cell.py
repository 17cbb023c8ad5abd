"""The printed numbers as data, found by the table, figure, equation or section that prints them."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from operator import ge, le, lt
from typing import Literal

from swatcost.common.errors import SwatcostError
from swatcost.common.registry import nearest

Nearness = Literal["equal", "within tolerance", "bound holds"]
_BOUNDS = {">=": ge, "<=": le, "<": lt}

REPEATED: Mapping[str, tuple[str, ...]] = {
    "6": ("11",),
    "Figure 6": ("3",),
    "4.1": ("12", "13", "14"),
    "A.2": ("7", "8"),
    "A.11": ("12", "13", "14"),
}
"""What repeats the numbers of tables."""

_DRAWN = {"Figure 6": ("ResNet-50", ("accuracy_change", "training_reduction"))}
_NO_COSTS = {
    "Figure 1": "it shows accuracy against sparsity in the forward pass",
    "Figure 2": "it shows accuracy against sparsity in the backward pass",
    "Figure 3": "it is a drawing of channel selection",
    "Figure 4": "it shows weight thresholds over a training run",
    "Figure 5": "it shows accuracy against the Top-K period",
    "Figure 7": "it shows accuracy with masked gradients",
    "Figure 8": "it shows accuracy with a topology that is frozen early",
    "Figure 9": "it shows accuracy by variant of Top-K",
    "Figure 10": "it shows the sparsity measured during a training run",
    "Figure 11": "it shows accuracy over training",
}
_SECTIONS = {"1": "introduction", "6": "broader impact"}  # 1 and 6 alone are tables
_SPELLINGS = (
    (re.compile(r"(?:fig\.?|figure)\s*(\d+)"), "figure {}"),
    (re.compile(r"(?:eqs?\.?|equation)\s*(\d+)"), "eq. {}"),
    (re.compile(r"tables?\s*(\d+)"), "{}"),
)
_SECTION = re.compile(r"(?:sec\.?|section|appendix)\s+(\S+)")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A printed number, or word; percentages are in per cent. `as_printed` has its digits as the paper prints them."""

    table: str
    network: str
    method: str
    setting: str
    quantity: str
    relation: str
    printed: float | str
    as_printed: str
    unit: str
    tolerance: float
    row: str
    supplied_row: str
    status: str
    reason: str

    @property
    def identity(self) -> str:
        """A unique name of the cell."""
        return "/".join(filter(None, (self.table, self.network, self.method, self.setting, self.quantity)))

    @property
    def number(self) -> float:
        """What is printed, if it is a number. Raises ValueError if it is a word."""
        return float(self.printed)

    @property
    def decimals(self) -> int:
        """Printed digits after the point."""
        return len(self.as_printed.partition(".")[2])

    def nearness(self, computed: float | str) -> Nearness | None:
        """How near a computed number comes to the printed one; None if beyond the tolerance or the printed bound.

        A number is equal if it rounds to the printed digits.
        """
        if isinstance(computed, str) or isinstance(self.printed, str):
            return "equal" if computed == self.printed else None
        if self.relation != "=":
            return "bound holds" if _BOUNDS[self.relation](computed, self.printed) else None
        if round(computed, self.decimals) == round(self.printed, self.decimals):
            return "equal"
        return "within tolerance" if abs(computed - self.printed) <= self.tolerance + 1e-9 else None


def cells(table: str = "all") -> list[Cell]:
    """The printed numbers of a table, figure, equation or section, or all of them.

    Raises SwatcostError for an unknown one, and for a figure that shows no costs.
    """
    name = _named(table)
    if name == "all":
        return list(_cells())
    if name in _NO_COSTS:
        raise SwatcostError(f"{name} has no costs: {_NO_COSTS[name]}; choose from {', '.join(_names()[:4])}, …, all")
    network, quantities = _DRAWN.get(name, (None, ()))
    repeated = REPEATED.get(name, (name,))
    return [
        each
        for each in _cells()
        if (each.table in repeated or (name.endswith(".") and each.table.startswith(name)))
        and (network is None or (each.network == network and each.quantity in quantities))
    ]


def stated_numbers() -> list[tuple[Cell, dict[str, str]]]:
    """The cells whose reason states numbers of the program, each with these numbers by quantity."""
    return [(_cell(dict(line)), _numbers_stated(line)) for line in lines("cells.csv") if line["states"]]


def lines(name: str) -> list[dict[str, str]]:
    """The lines of a data file of this room."""
    return list(csv.DictReader((files(__package__) / name).read_text(encoding="utf-8").splitlines()))


@cache
def _cells() -> tuple[Cell, ...]:
    return tuple(map(_cell, lines("cells.csv")))


def _names() -> list[str]:
    return [*dict.fromkeys(each.table for each in _cells()), *REPEATED, "all"]


def _named(table: str) -> str:
    """The name of a table, however it is spelt: 4.2, section 4.2, table 3, Fig. 6, eq 7."""
    text = " ".join(table.split()).casefold()
    section = _SECTION.fullmatch(text)
    if section:
        text = _SECTIONS.get(section[1], section[1])
    for spelling, form in _SPELLINGS:
        if found := spelling.fullmatch(text):
            text = form.format(found[1])
    known = {each.casefold(): each for each in [*_names(), *_NO_COSTS]}
    if section and any(each.startswith(f"{text}.") for each in known):
        return f"{text.upper()}."  # a whole section
    if text not in known or (section and text.isdigit()):
        raise SwatcostError(f"unknown table {table!r}: {nearest(table, _names())}")
    return known[text]


def _cell(line: dict[str, str]) -> Cell:
    reason = line["reason"].format(*_numbers_stated(line).values())
    printed = line["printed"] if line["unit"] == "word" else float(line["printed"])
    given = {"printed": printed, "as_printed": line["printed"], "tolerance": float(line["tolerance"] or 0)}
    return Cell(**{**line, **given, "reason": reason})  # type: ignore[arg-type]


def _numbers_stated(line: dict[str, str]) -> dict[str, str]:
    return dict(statement.split("=") for statement in line.pop("states", "").split())
