"""What can be moved on the page, from where it starts, and the settings of an estimate that it stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from swatcost.common.errors import SwatcostError
from swatcost.counting.conventions import CONVENTIONS
from swatcost.devices import device_names
from swatcost.distributions import DISTRIBUTIONS
from swatcost.methods import METHODS
from swatcost.methods.method import OPERANDS

SPARSITIES = tuple(OPERANDS)
NAMES = ("method", "distribution", "convention", "device")
COUNTS = ("period", "batch_size")
ORDER = (*SPARSITIES, *COUNTS, *NAMES)
"""The settings that have a control, in the order of the page."""

START = 0.8  # sparsity [-] of what a method makes sparse, where none was asked for: the paper's first setting
_PERIODS = (*(step * 10**power for power in range(5) for step in (1, 2, 5)), 100_000)
_BATCH_SIZES = tuple(2**power for power in range(11))


@dataclass(frozen=True, kw_only=True)
class Choices:
    """The values that each control offers, those that it starts from, and the settings that have no control.

    Sparsities are free in [0, 1), the library checks them; `offered` are the values of the others.
    """

    offered: Mapping[str, Sequence[Any]]
    start: Mapping[str, Any]
    others: Mapping[str, Any]

    def settings(self, values: Sequence[Any]) -> dict[str, Any]:
        """What `estimate` is asked for when the controls have these values, in ORDER.

        A sparsity of 0 is left out, for methods that have none of the kind and for what a file says; not that of
        activations where they would follow the weights then. Raises SwatcostError for values that no control offers:
        a device, say, may not be any file.
        """
        given = dict(zip(ORDER, values, strict=True))
        for name, offered in self.offered.items():
            if given[name] not in offered:
                raise SwatcostError(f"{name.replace('_', ' ')} {given[name]!r:.40} is none of those to choose from")
        distribution = DISTRIBUTIONS[given["distribution"]]
        follow = distribution.acts_follow_weights and not distribution.measured
        left_out = [name for name in SPARSITIES if not given[name] and not (name == "acts" and follow)]
        return {**self.others, **given, **dict.fromkeys(left_out)}


def choices_from(settings: Mapping[str, Any]) -> Choices:
    """The choices around settings that `estimate` takes, which are where the controls start.

    Raises SwatcostError for an unknown name among them.
    """
    method = METHODS.choose(settings.get("method", "swat"))
    distribution = DISTRIBUTIONS.choose(settings.get("distribution", "uniform"))
    convention = CONVENTIONS.choose(settings.get("convention", "swat"))
    named = {
        "method": method.name,
        "distribution": distribution.name,
        "convention": convention.name,
        "device": settings.get("device", "rtx2080ti"),
    }
    counts = {"period": settings.get("period", 1000), "batch_size": settings.get("batch_size", 32)}
    sparse = {name: settings.get(name) for name in SPARSITIES}
    if all(value is None for value in sparse.values()) and not distribution.measured:
        sparse = {name: START if method.uses(operand) else None for name, operand in OPERANDS.items()}
    elif sparse["acts"] is None and distribution.acts_follow_weights and method.uses("activation"):
        sparse["acts"] = sparse["weights"]
    offered = {
        "period": sorted({*_PERIODS, counts["period"]}),
        "batch_size": sorted({*_BATCH_SIZES, counts["batch_size"]}),
        "method": METHODS.names(),
        "distribution": DISTRIBUTIONS.names(),
        "convention": CONVENTIONS.names(),
        "device": list(dict.fromkeys([*device_names(), named["device"]])),
    }
    return Choices(
        offered=offered,
        start={name: value or 0.0 for name, value in sparse.items()} | counts | named,
        others={name: value for name, value in settings.items() if name not in ORDER},
    )
