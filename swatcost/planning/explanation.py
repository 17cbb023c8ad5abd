"""Why one method on one network has two numbers: from one convention to another, one switch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from swatcost.common.errors import SwatcostError
from swatcost.common.result import Result
from swatcost.counting import CONVENTIONS, Convention, PassCosts
from swatcost.counting.switches import SWITCHES
from swatcost.estimate import Estimate, estimate_setting
from swatcost.loading import counted_network
from swatcost.network import Network
from swatcost.setting import NOT_TIMED, Scope, Settings

FORMULA = "formula"
"""The name of the step for all that is due to formulas of a convention's own, which no switch can say."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One switch turned, by the name of its field, or FORMULA.

    `before` and `after` are its values. `convention` counts from there on, and `costs` is what training costs under it
    [MACs per sample]. `change` is what the step adds to the training reduction [-].
    """

    switch: str
    before: str
    after: str
    convention: Convention
    costs: PassCosts
    change: float


@dataclass(frozen=True, kw_only=True, repr=False)
class Explanation(Result):
    """Where the difference between two conventions comes from. Its repr is the report.

    `start` and `end` are the estimates under either; `steps` lead from one to the other, a step for each switch in
    which the conventions differ, in the order of `swatcost.counting.switches.SWITCHES`. Their changes add up to the
    difference exactly: reductions are 1 − x, hence whole multiples of 2⁻⁵³, so that a float holds each difference of up
    to 100 points without rounding.
    """

    report = "explanation"

    start: Estimate
    end: Estimate
    steps: tuple[Step, ...]

    @property
    def difference(self) -> float:
        """The training reduction at the end less that at the start [-]."""
        return self.end.training_reduction - self.start.training_reduction

    @property
    def largest(self) -> Step | None:
        """The step that changes the most in the direction of the difference; None if the reductions are equal."""
        if not self.difference:
            return None
        sign = 1 if self.difference > 0 else -1
        return max(self.steps, key=lambda step: sign * step.change)

    @property
    def shared(self) -> tuple[str, ...]:
        """The switches that have the same value in both conventions."""
        one, other = self.start.convention, self.end.convention
        return tuple(name for name in SWITCHES if getattr(one, name) == getattr(other, name))


EXPLAINING = Scope(
    without={
        "convention": "an explanation goes from one convention to another: give from_convention and to_convention "
        "(--from-convention, --to-convention)",
        **dict.fromkeys(
            ("period", "device", "batch_size", "selection", "one_sample", "hidden"),
            "FLOPs per sample do not depend on it, leave it out",
        ),
        **NOT_TIMED,
    }
)
"""Settings as an explanation takes them: those that training FLOPs depend on."""


def explain(
    network: Network | str | Path,
    *,
    from_convention: str | Convention = "swat",
    to_convention: str | Convention = "exact",
    **settings: Unpack[Settings],
) -> Explanation:
    """Explains why a training reduction differs between two conventions, one switch at a time. Its repr is the report.

    settings are those of `estimate` that FLOPs depend on: weights, acts, method, distribution and so on.

    Raises SwatcostError for two conventions of one name, and for what `estimate` refuses.

    >>> import swatcost
    >>> found = swatcost.explain("resnet50", weights=0.8, acts=0.8, from_convention="swat", to_convention="equations")
    >>> [(step.switch, step.before, step.after) for step in found.steps]
    [('grad_weight_resolution', 'output', 'input')]
    >>> found.start.training_reduction + found.steps[0].change == found.end.training_reduction
    True
    """
    one, other = CONVENTIONS.choose(from_convention), CONVENTIONS.choose(to_convention)
    if one.name == other.name:
        raise SwatcostError(
            f"{one.name} is both conventions, so nothing differs: give another to_convention (--to-convention)"
        )
    setting = EXPLAINING.setting(settings)
    network = counted_network(network)
    start, end = (estimate_setting(network, setting.but(convention=each)) for each in (one, other))
    steps: list[Step] = []
    reached = start.training_reduction
    for switch, before, after, convention in _turned(one, other):
        costs = start.counting.under(convention).total(network, start.plan)
        change = costs.training.reduction - reached
        steps.append(Step(switch=switch, before=before, after=after, convention=convention, costs=costs, change=change))
        reached = costs.training.reduction
    return Explanation(start=start, end=end, steps=tuple(steps))


def _turned(one: Convention, other: Convention) -> Iterator[tuple[str, str, str, Convention]]:
    """(switch, value before, value after, the convention then) for each in which they differ.

    Formulas of `other` come first and formulas of `one` go last: what they replace is then no step of its own.
    """
    per = one.per if one.per == other.per else "token"  # the same count, in which the switches of tokens matter
    now = replace(one, name=f"between {one.name} and {other.name}", per=per)
    has_own, gets_own = _has_formulas(one), _has_formulas(other)
    own: dict[str, Any] = {"formulas": other.formulas, "own_density": other.own_density}
    differ = any(getattr(one, name) != value for name, value in own.items())
    formula = (FORMULA, _HAS[has_own], _HAS[gets_own])
    if differ and gets_own:
        now = replace(now, **own)
        yield *formula, now
    for name in SWITCHES:
        before, after = getattr(one, name), getattr(other, name)
        if before != after:
            now = replace(now, **{name: after})
            yield name, before, after, now
    if differ and not gets_own:
        now = replace(now, **own)
        yield *formula, now


_HAS = {True: "its own", False: "switches"}


def _has_formulas(convention: Convention) -> bool:
    return bool(convention.formulas) or convention.own_density is not None
