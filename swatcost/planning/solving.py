"""The least sparse setting that reaches a goal, the freedom that is left, or why it cannot be reached."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy

from swatcost import topk
from swatcost.conventions import EXACT
from swatcost.costs import PASSES, Pass
from swatcost.errors import SwatcostError
from swatcost.estimate import Estimate, checked_count, estimate
from swatcost.methods import LayerSparsity, checked_sparsity
from swatcost.network import Network
from swatcost.planning.fitting import capacity_of, view_of
from swatcost.planning.question import Array, Question, question
from swatcost.sparsity import SparsityPlan

STEP = 1e-4
"""Sparsities are looked for in steps of this [-]; the last one below 1 is taken as the most that can be asked for."""

SHARES = (0.001, 0.01, 0.1)
"""Shares of the sparse step that a Top-K may take [-], for which a solution says the period."""

_MOST = round(1 / STEP) - 1
_COARSE = 64  # steps looked at together before those between two of them
_ISO_WEIGHTS = numpy.arange(0.05, 0.96, 0.05).round(2)
_OVERHEAD_SPARSITIES = numpy.array([0.5, 0.6, 0.7, 0.8, 0.9, 0.95])
_LONGEST_PERIOD = 10**12
_OPERANDS = {"weights": "weight", "acts": "activation", "grads": "output"}


@dataclass(frozen=True, kw_only=True)
class Goals:
    """What is to be reached; None where nothing was asked.

    `speedup` is of a training step, Top-K included [-]; `training_flops` what may be left of a dense step's FLOPs [-];
    `memory_bytes` the peak of a step with everything in its smallest storage format [bytes]; `topk_overhead` what a
    Top-K may add to the sparse steps of its period [-].
    """

    speedup: float | None = None
    training_flops: float | None = None
    memory_bytes: int | None = None
    topk_overhead: float | None = None

    def __post_init__(self) -> None:
        if all(each is None for each in vars(self).values()):
            raise SwatcostError("nothing to solve for: give a speedup, training FLOPs, memory or a Top-K overhead")
        if self.speedup is not None and not 0 < self.speedup < 1e9:
            raise SwatcostError(f"speedup {self.speedup:g}: give a factor above 0, such as 4")
        if self.training_flops is not None and not 0 < self.training_flops <= 1:
            raise SwatcostError(
                f"training FLOPs {self.training_flops:g}: give what may be left of dense training, such as 0.3 or 30%"
            )
        if self.topk_overhead is not None and not 0 < self.topk_overhead < 1e9:
            raise SwatcostError(f"Top-K overhead {self.topk_overhead:g}: give a share above 0, such as 1%")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Sparsities [-], a period [iterations] and what they give; None for what the method does not make sparse.

    `training_flops` is what is left of dense training [-], `topk_overhead` a Top-K's time over that of the sparse steps
    of its period [-], `memory_bytes` the peak where memory was a goal.
    """

    weights: float | None
    acts: float | None
    grads: float | None
    period: int
    speedup: float
    speedup_limit: float
    training_flops: float
    topk_overhead: float
    memory_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Solution:
    """The answer. Its repr is the report.

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
    least: Setting | None = None
    exact: float | None = None
    limit: Setting | None = None
    unreached: tuple[str, ...] = ()
    freedom: tuple[Setting, ...] = ()

    @property
    def reached(self) -> bool:
        """Whether the goals can be reached."""
        return not self.unreached

    @cached_property
    def estimate(self) -> Estimate:
        """The estimate at the least setting, at the limit where there is none, or at the last of several."""
        at = self.least or self.limit or self.freedom[-1]
        asked: dict[str, Any] = {**self.settings, **_targets(at), "period": at.period}
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
        columns = _columns(self.question, {name: numpy.array([value]) for name, value in _targets(self.least).items()})
        return {share: int(_period_for(columns, share)[0]) for share in SHARES}

    def to_frame(self) -> Any:
        """A pandas DataFrame: the least setting, then the other settings that reach the goals."""
        import pandas

        rows = ([("least", self.least)] if self.least else []) + [("freedom", each) for each in self.freedom]
        return pandas.DataFrame([{"what": what, **vars(each)} for what, each in rows])

    def __repr__(self) -> str:
        from swatcost.report.solution import render

        return render(self, "table")


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
    capacity = None if memory is None else capacity_of(str(memory))
    goals = Goals(speedup=speedup, training_flops=training_flops, memory_bytes=capacity, topk_overhead=topk_overhead)
    if period is not None and topk_overhead is not None:
        raise SwatcostError("period: a Top-K overhead says how long it has to be, leave one of them out")
    given = {"weights": weights, "acts": acts, "grads": grads}
    fixed = {name: checked_sparsity(value, name) for name, value in given.items() if value is not None}
    used = [name for name, operand in _OPERANDS.items() if asked.method.uses(operand)]  # type: ignore[arg-type]
    if not used:
        raise SwatcostError(f"method {asked.method.name!r} makes nothing sparse: there is nothing to solve for")
    if topk_overhead is not None and not asked.method.selects:
        raise SwatcostError(f"Top-K overhead: method {asked.method.name!r} selects nothing by Top-K, leave it out")
    search = _Search(
        question=asked,
        goals=goals,
        settings=settings,
        fixed=fixed,
        free=tuple(name for name in used if name not in fixed),
        period=None if period is None else checked_count(period, "period"),
        optimizer=optimizer,
        precision=precision,
    )
    return search.solution()


@dataclass(frozen=True, kw_only=True)
class _Search:
    question: Question
    goals: Goals
    settings: dict[str, Any]
    fixed: dict[str, float]
    free: tuple[str, ...]
    period: int | None
    optimizer: str
    precision: str

    @property
    def _only_overhead(self) -> bool:
        goals = self.goals
        return bool(self.free) and goals.speedup is None and goals.training_flops is None and goals.memory_bytes is None

    def solution(self) -> Solution:
        if self._only_overhead:
            return self._found(freedom=tuple(self._settings(_OVERHEAD_SPARSITIES)))
        number = self._least()
        if number > _MOST:
            limit = self._setting(_MOST)
            return self._found(limit=limit, unreached=self._beyond(limit))
        exact = None
        if self.free and self.question.convention is not EXACT and self.goals.memory_bytes is None:
            needed = replace(self, question=replace(self.question, convention=EXACT))._least()
            exact = needed * STEP if needed <= _MOST else None
        return self._found(least=self._setting(number), exact=exact, freedom=self._iso_line())

    def _found(self, **answer: Any) -> Solution:
        given = {name: getattr(self, name) for name in ("question", "goals", "settings", "fixed", "free")}
        return Solution(**given, **answer)

    def _beyond(self, limit: Setting) -> tuple[str, ...]:
        """The goals that the limit does not reach."""
        goals = self.goals
        beyond = {
            "speedup": goals.speedup is not None and limit.speedup < goals.speedup,
            "training_flops": goals.training_flops is not None and limit.training_flops > goals.training_flops,
            "memory_bytes": goals.memory_bytes is not None and (limit.memory_bytes or 0) > goals.memory_bytes,
        }
        return tuple(name for name, is_beyond in beyond.items() if is_beyond)

    def _least(self) -> int:
        """The step from which on every goal is met; beyond the last where one never is.

        With nothing free to move all steps are the same setting, and the first is as good as any.
        """
        return max(int(self._first_of_flops({}, 1)[0]), self._first_of_memory())

    def _setting(self, number: int) -> Setting:
        (found,) = self._settings(numpy.array([number * STEP]))
        if self.goals.memory_bytes is None:
            return found
        return replace(found, memory_bytes=self._peak(self._plan(numpy.array([number * STEP])), 0))

    def _first_of_flops(self, held: dict[str, Array], lines: int) -> Any:
        """On each of so many lines the first step that meets the goals of speed and FLOPs; beyond the last if none.

        held are operands that do not move along a line, one value a line.
        """
        coarse = numpy.append(numpy.arange(0, _MOST, _COARSE), _MOST)
        first = self._first(numpy.tile(coarse, (lines, 1)), held)
        start = coarse[numpy.maximum(numpy.minimum(first, len(coarse) - 1) - 1, 0)]
        between = start[:, None] + numpy.arange(_COARSE + 1)
        fine = self._first(numpy.minimum(between, _MOST), held)
        found = between[numpy.arange(lines), numpy.minimum(fine, _COARSE)]
        return numpy.where(first < len(coarse), found, _MOST + 1)

    def _first(self, steps: Any, held: dict[str, Array]) -> Any:
        """On each line of steps the place of the first that meets the goals; their number if none does."""
        lines, width = steps.shape
        targets = {name: numpy.repeat(values, width) for name, values in held.items()}
        moving = steps.reshape(-1) * STEP
        columns = _columns(self.question, self._all(moving, targets))
        met = self._meets(columns).reshape(lines, width)
        return numpy.where(met.any(axis=1), met.argmax(axis=1), width)

    def _meets(self, columns: dict[str, Any]) -> Any:
        met = numpy.ones(len(columns["training_reduction"]), dtype=bool)
        if self.goals.speedup is not None:
            met &= columns["speedup"](self._period(columns)) >= self.goals.speedup
        if self.goals.training_flops is not None:
            met &= 1 - columns["training_reduction"] <= self.goals.training_flops
        return met

    def _first_of_memory(self) -> int:
        """The first step whose compressed peak fits, by halving; 0 where memory is no goal, beyond the last if none."""
        if self.goals.memory_bytes is None:
            return 0
        too_large, fits = -1, _MOST + 1
        while fits - too_large > 1:
            steps = numpy.unique(numpy.linspace(too_large + 1, min(fits, _MOST), _COARSE).round().astype(int))
            plan = self._plan(steps * STEP)
            low, high = -1, len(steps)
            while high - low > 1:
                middle = (low + high) // 2
                fitting = self._peak(plan, middle) <= self.goals.memory_bytes
                low, high = (low, middle) if fitting else (middle, high)
            too_large = int(steps[low]) if low >= 0 else too_large
            fits = int(steps[high]) if high < len(steps) else fits
            if too_large == _MOST:
                break
        return fits

    def _peak(self, plan: SparsityPlan, place: int) -> int:
        asked = self.question
        view = view_of(asked.network, _one_of(plan, place), asked.batch_size, self.optimizer, self.precision)
        return view.peak(view.compressed) if view.compressed < view.dense.saved_bytes else view.dense.peak.bytes

    def _plan(self, moving: Array) -> SparsityPlan:
        targets = self._all(moving, {})
        return self.question.plan(*(targets.get(name, _missing(len(moving))) for name in _OPERANDS))

    def _all(self, moving: Array, held: dict[str, Array]) -> dict[str, Array]:
        """Every operand's target: what is fixed, what is held on a line, and what moves."""
        fixed = {name: numpy.full(len(moving), value) for name, value in self.fixed.items()}
        return {**dict.fromkeys(self.free, moving), **fixed, **held}

    def _period(self, columns: dict[str, Any]) -> Any:
        """The period that was given; or the shortest that the goals allow, where it is what is looked for."""
        if self.goals.topk_overhead is not None:
            return _period_for(columns, self.goals.topk_overhead)
        if self.period is None and not self.free and self.goals.speedup is not None:
            return _period_of_speedup(columns, self.goals.speedup)
        return numpy.full(len(columns["topk_seconds"]), self.period or 1000)

    def _settings(self, moving: Array, held: dict[str, Array] | None = None) -> list[Setting]:
        targets = self._all(moving, held or {})
        columns = _columns(self.question, targets)
        periods = self._period(columns)
        speedups = columns["speedup"](periods)
        overheads = columns["topk_seconds"] / (periods * columns["sparse_step_seconds"])
        return [
            Setting(
                weights=_at(targets.get("weights"), each),
                acts=_at(targets.get("acts"), each),
                grads=_at(targets.get("grads"), each),
                period=int(periods[each]),
                speedup=float(speedups[each]),
                speedup_limit=float(topk.speedup_limit(columns["training_reduction"][each])),
                training_flops=float(1 - columns["training_reduction"][each]),
                topk_overhead=float(overheads[each]),
            )
            for each in range(len(moving))
        ]

    def _iso_line(self) -> tuple[Setting, ...]:
        """Weights against the least activations that reach the goals with them, where both are free."""
        if not {"weights", "acts"} <= set(self.free) or self.goals.memory_bytes is not None:
            return ()
        held = {"weights": _ISO_WEIGHTS}
        acts = self._first_of_flops(held, len(_ISO_WEIGHTS))
        reach = acts <= _MOST
        if reach.any():  # beyond the first weights that need no sparse activations more weights are no freedom
            reach &= numpy.cumsum(acts == 0) <= 1
        return tuple(self._settings(acts[reach] * STEP, {"weights": _ISO_WEIGHTS[reach]})) if reach.any() else ()


def solve(network: Network | str | Path, **goals_and_settings: Any) -> Any:
    """What `planning.solution` finds, as a pandas DataFrame: the least setting, and others that reach the goals.

    Raises SwatcostError also where the goals cannot be reached, and says what the limit is.
    """
    found = solution(network, **goals_and_settings)
    if not found.reached:
        from swatcost.report.solution import refusal

        raise SwatcostError(refusal(found))
    return found.to_frame()


def _at(target: Array | None, place: int) -> float | None:
    return None if target is None else float(target[place].round(6))  # a step times STEP has dust


def _missing(count: int) -> Array:
    return numpy.full(count, numpy.nan)


def _targets(setting: Setting) -> dict[str, float]:
    return {name: getattr(setting, name) for name in _OPERANDS if getattr(setting, name) is not None}


def _columns(asked: Question, targets: dict[str, Array]) -> dict[str, Any]:
    """The question's columns, all of them arrays, with the time [s] of a sparse step and the speedup of a period."""
    count = len(next(iter(targets.values())))
    found = asked.columns(*(targets.get(name, _missing(count)) for name in _OPERANDS))
    names = ("training_reduction", "dense_step_seconds", "topk_seconds")
    arrays: list[Any] = [numpy.broadcast_to(found[name], count).astype(float) for name in names]
    reduction, step, selection = arrays

    def speedup(period: Any) -> Any:
        return topk.speedup(
            dense_step_seconds=step, training_reduction=reduction, topk_seconds=selection, period=period,
            hidden=asked.selecting.hidden,
        )  # fmt: skip

    return {
        "training_reduction": reduction,
        "dense_step_seconds": step,
        "topk_seconds": selection,
        "sparse_step_seconds": (1 - reduction) * step,
        "speedup": speedup,
    }


def _period_for(columns: dict[str, Any], share: float) -> Any:
    """The shortest period whose Top-K adds at most this share to its sparse steps: P ≥ t_topk / (share · t_sparse)."""
    needed = numpy.ceil(columns["topk_seconds"] / (share * columns["sparse_step_seconds"]))
    return numpy.clip(needed, 1, _LONGEST_PERIOD).astype(numpy.int64)


def _period_of_speedup(columns: dict[str, Any], speedup: float) -> Any:
    """The shortest period with this speedup: P · t ≥ S · (P · t_sparse + t_topk)     (Eq. 7, solved for P)."""
    gained = columns["dense_step_seconds"] / speedup - columns["sparse_step_seconds"]
    with numpy.errstate(divide="ignore", invalid="ignore"):
        needed = numpy.where(gained > 0, numpy.ceil(columns["topk_seconds"] / gained), _LONGEST_PERIOD)
    return numpy.clip(needed, 1, _LONGEST_PERIOD).astype(numpy.int64)


def _one_of(plan: SparsityPlan, place: int) -> SparsityPlan:
    """One setting of a plan for many."""

    def chosen(value: Any) -> float:
        return float(value[place] if getattr(value, "shape", ()) else value)

    layers = (LayerSparsity(chosen(each.weight), chosen(each.activation), chosen(each.output)) for each in plan.layers)
    return replace(plan, layers=tuple(layers))
