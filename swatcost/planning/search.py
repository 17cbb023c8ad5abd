"""The search for the least sparse setting: array arithmetic on a coarse grid of sparsities, then on a fine one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy

from swatcost.common.errors import SwatcostError
from swatcost.counting.conventions import EXACT
from swatcost.memory.dense_step import StepMemory, dense_step
from swatcost.memory.execution import Execution
from swatcost.memory.sparse_step import sparse_memory
from swatcost.methods import LayerSparsity
from swatcost.methods.method import OPERANDS
from swatcost.planning.goals import STEP, Answer, Goals, OperatingPoint
from swatcost.planning.vectorised import Array, Vectorised, missing
from swatcost.sparsity import SparsityPlan
from swatcost.timing import topk
from swatcost.timing.times import Times

_MAX_STEPS = round(1 / STEP) - 1
_COARSE = 64  # spacing of the coarse grid [steps]
_ISO_WEIGHTS = numpy.arange(0.05, 0.96, 0.05).round(2)
_OVERHEAD_SPARSITIES = numpy.array([0.5, 0.6, 0.7, 0.8, 0.9, 0.95])


@dataclass(frozen=True, kw_only=True)
class Search:
    """The goals, the targets that are fixed, and those that vary together.

    `period` is None if it may be solved for. `execution` is for the memory goal: a step fits above
    some sparsity, and the search for the goals of speed and FLOPs starts there.
    """

    vectorised: Vectorised
    goals: Goals
    fixed: dict[str, float]
    free: tuple[str, ...]
    period: int | None
    execution: Execution

    def answer(self) -> Answer:
        """The least sparse setting and others that reach the goals, or the limit."""
        if self._only_overhead:
            tried = numpy.unique(numpy.minimum(_OVERHEAD_SPARSITIES, self.most * STEP))
            return Answer(freedom=tuple(self._settings(tried)))
        iso = _ISO_WEIGHTS[self.most * STEP >= _ISO_WEIGHTS]
        held = {"weights": numpy.append(numpy.nan, iso)} if self._trades else {}
        start = self._first_within_memory()
        number, *others = self._first_reaching(held, len(held["weights"]) if held else 1, start)
        reached = [place for place, each in enumerate(others) if each <= self.most]
        if number > self.most and self.goals.attainable and reached:  # a kernel may lose where all is sparse
            moving = numpy.array(others)[reached] * STEP
            least, *freedom = self._settings(moving, {name: each[1:][reached] for name, each in held.items()})
            return Answer(least=self._with_memory([least])[0], freedom=tuple(freedom))
        if number > self.most:
            (limit,) = self._with_memory(self._settings(numpy.array([self.most * STEP])))
            return Answer(limit=limit, unreached=self._unreached_at(limit))
        moving = numpy.array([number, *others]) * STEP
        shown = [True, *_worth_showing(others, self.most)]
        found = self._settings(moving[shown], {name: each[shown] for name, each in held.items()})
        (least,) = self._with_memory(found[:1])
        return Answer(least=least, exact=self._under_exact(), freedom=tuple(found[1:]))

    @cached_property
    def most(self) -> int:
        """The largest step that the distribution can reach; layers kept dense may hold it below _MAX_STEPS.

        Raises SwatcostError if it cannot reach the first ones, as when the distribution sets the sparsity itself.
        """
        if self._refusal(_MAX_STEPS) is None:
            return _MAX_STEPS
        if (why := self._refusal(0) or self._refusal(1)) is not None:
            of_method = str(why).startswith(f"method {self.vectorised.setting.method.name!r}")
            if "weights" not in self.free or of_method:
                raise why
            name = self.vectorised.setting.distribution.name
            raise SwatcostError(f"distribution {name!r} leaves no weight sparsity to solve for: {_reason(why)}")
        given, refused = 0, _MAX_STEPS
        while refused - given > 1:
            middle = (given + refused) // 2
            given, refused = (middle, refused) if self._refusal(middle) is None else (given, middle)
        return given

    def _refusal(self, number: int) -> SwatcostError | None:
        """The error of a plan at this step, None if there is none."""
        try:
            self._plan(numpy.array([number * STEP]))
        except SwatcostError as error:
            return error
        return None

    @property
    def _only_overhead(self) -> bool:
        others = (self.goals.speedup, self.goals.training_flops, self.goals.memory_bytes)
        return bool(self.free) and all(each is None for each in others)

    @property
    def _trades(self) -> bool:
        """Whether weights can be traded for activations."""
        return {"weights", "acts"} <= set(self.free) and self.goals.memory_bytes is None

    def _under_exact(self) -> float | None:
        """The sparsity that the goals need under `exact`; None if memory is a goal, or they are out of reach."""
        if not self.free or self.vectorised.setting.convention is EXACT or self.goals.memory_bytes is not None:
            return None
        exact = self.vectorised.setting.but(convention=EXACT)
        counted = replace(self, vectorised=replace(self.vectorised, setting=exact))
        number = int(counted._first_reaching({}, 1)[0])
        return number * STEP if number <= self.most else None

    def _unreached_at(self, limit: OperatingPoint) -> tuple[str, ...]:
        """The goals that the limit does not reach."""
        goals = self.goals
        unreached = {
            "speedup": goals.speedup is not None and self._speedup_of(limit) < goals.speedup,
            "training_flops": goals.training_flops is not None and limit.training_flops > goals.training_flops,
            "memory_bytes": goals.memory_bytes is not None and (limit.memory_bytes or 0) > goals.memory_bytes,
        }
        return tuple(name for name, is_unreached in unreached.items() if is_unreached)

    def _first_reaching(self, held: dict[str, Array], lines: int, start: int = 0) -> Any:
        """The first step on each of `lines` lines that meets the goals of speed and FLOPs; `most` + 1 if none does.

        held are operands that are constant along a line, one value per line; NaN where they vary.
        """
        if start > self.most:
            return numpy.full(lines, self.most + 1)
        if self.goals.speedup is None and self.goals.training_flops is None:
            return numpy.full(lines, start)
        coarse = numpy.append(numpy.arange(start, self.most, _COARSE), self.most)
        first = self._first(numpy.tile(coarse, (lines, 1)), held)
        before = coarse[numpy.maximum(numpy.minimum(first, len(coarse) - 1) - 1, 0)]
        between = before[:, None] + numpy.arange(_COARSE + 1)
        fine = self._first(numpy.minimum(between, self.most), held)
        found = between[numpy.arange(lines), numpy.minimum(fine, _COARSE)]
        return numpy.where(first < len(coarse), found, self.most + 1)

    def _first(self, steps: Any, held: dict[str, Array]) -> Any:
        """The index of the first step on each line that meets the goals; the number of steps if none does."""
        lines, width = steps.shape
        on_lines = {name: numpy.repeat(values, width) for name, values in held.items()}
        met = self._meets(self.vectorised.times(self._targets(steps.reshape(-1) * STEP, on_lines)))
        met = met.reshape(lines, width)
        return numpy.where(met.any(axis=1), met.argmax(axis=1), width)

    def _meets(self, times: Times) -> Any:
        met = numpy.ones(len(times.reduction), dtype=bool)
        if self.goals.speedup is not None:
            met &= self._asked(times).speedup(self._period(times)) >= self.goals.speedup
        if self.goals.training_flops is not None:
            met &= 1 - times.reduction <= self.goals.training_flops
        return met

    def _period(self, times: Times) -> Any:
        """The given period, or the shortest that the goals allow if the period is solved for."""
        if self.goals.topk_overhead is not None:
            return times.period_of_overhead(self.goals.topk_overhead)
        if self.period is None and not self.free and self.goals.speedup is not None:
            return self._asked(times).period_of_speedup(self.goals.speedup)
        return numpy.full(len(times.topk_seconds), self.period or self.vectorised.setting.period)

    def _asked(self, times: Times) -> Times:
        """The times whose speedup is the goal's."""
        return times.attainable if self.goals.attainable else times

    def _speedup_of(self, found: OperatingPoint) -> float:
        return found.attainable_speedup if self.goals.attainable else found.speedup

    def _first_within_memory(self) -> int:
        """The first step whose compressed peak fits, by bisection; 0 if memory is not set, `most` + 1 if none fits."""
        if self.goals.memory_bytes is None:
            return 0
        too_large, fits = -1, self.most + 1
        while fits - too_large > 1:
            steps = numpy.unique(numpy.linspace(too_large + 1, min(fits, self.most), _COARSE).round().astype(int))
            plan = self._plan(steps * STEP)
            low, high = -1, len(steps)
            while high - low > 1:
                middle = (low + high) // 2
                fitting = self._peak(plan, middle) <= self.goals.memory_bytes
                low, high = (low, middle) if fitting else (middle, high)
            too_large = int(steps[low]) if low >= 0 else too_large
            fits = int(steps[high]) if high < len(steps) else fits
            if too_large == self.most:
                break
        return fits

    def _with_memory(self, found: list[OperatingPoint]) -> list[OperatingPoint]:
        """The one setting, with its peak if memory is a goal."""
        if self.goals.memory_bytes is None:
            return found
        moving = next((getattr(found[0], name) for name in self.free), 0.0)
        return [replace(found[0], memory_bytes=self._peak(self._plan(numpy.array([moving])), 0))]

    def _peak(self, plan: SparsityPlan, place: int) -> int:
        view = sparse_memory(self.vectorised.network, _one_of(plan, place), self._dense_step)
        return min(view.compressed_peak, view.dense.peak.bytes)

    @cached_property
    def _dense_step(self) -> StepMemory:
        asked = self.vectorised
        return dense_step(asked.network, asked.setting.batch_size, self.execution)

    def _plan(self, moving: Array) -> SparsityPlan:
        targets = self._targets(moving, {})
        return self.vectorised.plan(*(targets.get(name, missing(len(moving))) for name in OPERANDS))

    def _targets(self, moving: Array, held: dict[str, Array]) -> dict[str, Array]:
        """Every operand's target: fixed, held on a line, or varying."""
        fixed = {name: numpy.full(len(moving), value) for name, value in self.fixed.items()}
        on_lines = {name: numpy.where(numpy.isnan(values), moving, values) for name, values in held.items()}
        return {**dict.fromkeys(self.free, moving), **fixed, **on_lines}

    def _settings(self, moving: Array, held: dict[str, Array] | None = None) -> list[OperatingPoint]:
        targets = self._targets(moving, held or {})
        times = self.vectorised.times(targets)
        periods = self._period(times)
        speedups, overheads = times.speedup(periods), times.overhead(periods)
        attainable = times.attainable.speedup(periods)
        return [
            OperatingPoint(
                weights=_at(targets.get("weights"), each),
                acts=_at(targets.get("acts"), each),
                grads=_at(targets.get("grads"), each),
                period=int(periods[each]),
                speedup=float(speedups[each]),
                speedup_limit=float(topk.speedup_limit(times.reduction[each])),
                training_flops=float(1 - times.reduction[each]),
                topk_overhead=float(overheads[each]),
                attainable_speedup=float(attainable[each]),
            )
            for each in range(len(moving))
        ]


def _worth_showing(acts: Sequence[int], most: int) -> list[bool]:
    """Which points of the iso-line are useful: those that exist, up to the first that needs no sparse activations."""
    return [each <= most and 0 not in acts[:place] for place, each in enumerate(acts)]


def _reason(error: SwatcostError) -> str:
    """The distribution's error, without the target, which the user did not give."""
    return str(error).partition(": ")[2].removesuffix(", leave weights out") or str(error)


def _at(target: Array | None, place: int) -> float | None:
    return None if target is None else float(target[place].round(6))  # step · STEP has rounding errors


def _one_of(plan: SparsityPlan, place: int) -> SparsityPlan:
    """One setting of a plan for many."""

    def chosen(value: Any) -> float:
        return float(value[place] if getattr(value, "shape", ()) else value)

    layers = (LayerSparsity(chosen(each.weight), chosen(each.activation), chosen(each.output)) for each in plan.layers)
    pattern = None if plan.pattern is None else (int(chosen(plan.pattern[0])), int(chosen(plan.pattern[1])))
    return replace(plan, layers=tuple(layers), pattern=pattern)
