"""The least sparse setting that reaches a goal, the freedom that is left, or why it cannot be reached."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy

from swatcost.checks import checked_count
from swatcost.common.errors import SwatcostError
from swatcost.counting.costs import PASSES, Pass
from swatcost.estimate import Estimate, estimate
from swatcost.memory.dense_step import OPTIMIZERS, PRECISIONS
from swatcost.methods import checked_sparsity
from swatcost.methods.method import OPERANDS
from swatcost.network import Network
from swatcost.planning.capacity import capacity_of
from swatcost.planning.goals import Goals
from swatcost.planning.search import Answer, Search
from swatcost.planning.vectorised import Question, question, times_of

SHARES = (0.001, 0.01, 0.1)
"""Shares of the sparse step that a Top-K may take [-], for which a solution says the period."""


@dataclass(frozen=True, kw_only=True)
class Solution(Answer):
    """What was found. Its repr is the report.

    `least` is the least sparse setting that reaches the goals, in steps of `STEP`. It is None where there is none, and
    then `limit` is as near as this method comes and `unreached` names the goals beyond it; and where only the overhead
    was asked for with no sparsity given: the periods are in `freedom` then. `exact` is the sparsity that the goals need
    as the convention `exact` counts, where they are about FLOPs. `freedom` are other settings that reach the goals:
    weights against activations. `fixed` were given, `free` were looked for, `settings` are those of `estimate`.
    """

    question: Question
    goals: Goals
    settings: dict[str, Any]
    fixed: dict[str, float]
    free: tuple[str, ...]

    @property
    def reached(self) -> bool:
        """Whether the goals can be reached."""
        return not self.unreached

    @cached_property
    def estimate(self) -> Estimate:
        """The estimate at the least setting, at the limit where there is none, or at the last of several."""
        at = self.least or self.limit or self.freedom[-1]
        asked: dict[str, Any] = {**self.settings, **at.targets, "period": at.period}
        return estimate(self.question.network, **asked)

    @property
    def remaining(self) -> dict[Pass, float]:
        """Each pass's share of the FLOPs that the setting leaves [-]."""
        costs = self.estimate.costs
        return {each: costs.by_pass()[each].sparse / costs.training.sparse for each in PASSES}

    def periods(self) -> dict[float, int]:
        """The shortest period [iterations] at the least setting that keeps a Top-K below each of SHARES."""
        if self.least is None or not self.question.method.selects:
            return {}
        times = times_of(self.question, {name: numpy.array([value]) for name, value in self.least.targets.items()})
        return {share: int(times.period_of_overhead(share)[0]) for share in SHARES}

    def to_frame(self) -> Any:
        """A pandas DataFrame: the least setting, then the other settings that reach the goals."""
        import pandas

        rows = ([("least", self.least)] if self.least else []) + [("freedom", each) for each in self.freedom]
        return pandas.DataFrame([{"what": what, **vars(each)} for what, each in rows])

    def __repr__(self) -> str:
        from swatcost.report.solution import render

        return render(self, "table")

    def _repr_html_(self) -> str:
        from swatcost.report.html import sheet_to_html
        from swatcost.report.solution import sheet

        return sheet_to_html(sheet(self))


def solution(
    network: Network | str | Path,
    *,
    speedup: float | None = None,
    training_flops: float | None = None,
    memory: str | int | None = None,
    topk_overhead: float | None = None,
    weights: float | None = None,
    acts: float | None = None,
    grads: float | None = None,
    period: int | None = None,
    optimizer: str = "momentum",
    precision: str = "fp32",
    **settings: Any,
) -> Solution:
    """Looks for the least sparse setting that reaches every goal that is given.

    speedup is of a training step with its share of a Top-K; training_flops what may be left of dense training [-];
    memory the peak of a step [bytes, or such as "11GB", or a device], everything in its smallest storage format, with
    optimizer and precision as `planning.memory_of` takes them; topk_overhead what a Top-K may add to the sparse steps
    of its period [-], which has the period solved for. Of weights, acts and grads, those that are given are fixed and
    the others move together. Where none is left to move, it is the period that is looked for. period is 1000 unless
    given.
    settings are those of `estimate`: method, distribution, convention, device, batch_size and so on.

    Raises SwatcostError for what cannot be used; a goal out of reach is an answer.

    >>> round(solution("resnet50", training_flops=0.239).least.weights, 2)  # Table 3: 76.1 % fewer at 80 %
    0.8
    """
    asked = question(network, **settings)
    OPTIMIZERS.choose(optimizer)
    PRECISIONS.choose(precision)
    capacity = None if memory is None else capacity_of(str(memory))
    goals = Goals(speedup=speedup, training_flops=training_flops, memory_bytes=capacity, topk_overhead=topk_overhead)
    if period is not None and topk_overhead is not None:
        raise SwatcostError("period: a Top-K overhead says how long it has to be, leave one of them out")
    given = {"weights": weights, "acts": acts, "grads": grads}
    fixed = {name: checked_sparsity(value, name) for name, value in given.items() if value is not None}
    used = [name for name, operand in OPERANDS.items() if asked.method.uses(operand)]
    if not used:
        raise SwatcostError(f"method {asked.method.name!r} makes nothing sparse: there is nothing to solve for")
    if topk_overhead is not None and not asked.method.selects:
        raise SwatcostError(f"Top-K overhead: method {asked.method.name!r} selects nothing by Top-K, leave it out")
    free = tuple(name for name in used if name not in fixed)
    search = Search(
        question=asked,
        goals=goals,
        fixed=fixed,
        free=free,
        period=None if period is None else checked_count(period, "period"),
        optimizer=optimizer,
        precision=precision,
    )
    return Solution(question=asked, goals=goals, settings=settings, fixed=fixed, free=free, **vars(search.answer()))


def solve(network: Network | str | Path, **goals_and_settings: Any) -> Any:
    """What `planning.solution` finds, as a pandas DataFrame: the least setting, and others that reach the goals.

    Raises SwatcostError also where the goals cannot be reached, and says what the limit is.
    """
    found = solution(network, **goals_and_settings)
    if not found.reached:
        from swatcost.report.solution import refusal

        raise SwatcostError(refusal(found))
    return found.to_frame()
