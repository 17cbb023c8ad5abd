"""The search for the least sparse setting: array arithmetic on a coarse grid of sparsities, then on a fine one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy

from swatcost.common.errors import SwatcostError
from swatcost.counting.conventions import EXACT
from swatcost.memory.dense_step import StepMemory, training_memory
from swatcost.memory.sparse_step import sparse_memory
from swatcost.methods import LayerSparsity
from swatcost.methods.method import OPERANDS
from swatcost.planning.goals import STEP, Answer, Goals, OperatingPoint
from swatcost.planning.vectorised import Array, Vectorised, missing
from swatcost.sparsity import SparsityPlan
from swatcost.timing import topk
from swatcost.timing.times import Times

_MOST = round(1 / STEP) - 1
_COARSE = 64  # steps looked at together before those between two of them
_ISO_WEIGHTS = numpy.arange(0.05, 0.96, 0.05).round(2)
_OVERHEAD_SPARSITIES = numpy.array([0.5, 0.6, 0.7, 0.8, 0.9, 0.95])


@dataclass(frozen=True, kw_only=True)
class Search:
    """Goals, the targets that are fixed, and those that move together.

    `period` is None where it may be looked for. Memory is of a step with this optimizer and precision; it fits from
    some sparsity on, and the goals of speed and FLOPs are looked for from there.
    """

    vectorised: Vectorised
    goals: Goals
    fixed: dict[str, float]
    free: tuple[str, ...]
    period: int | None
    optimizer: str
    precision: str

    def answer(self) -> Answer:
        """The least setting and others that reach the goals, or the limit."""
        if self._only_overhead:
            looked_at = numpy.unique(numpy.minimum(_OVERHEAD_SPARSITIES, self.most * STEP))
            return Answer(freedom=tuple(self._settings(looked_at)))
        iso = _ISO_WEIGHTS[self.most * STEP >= _ISO_WEIGHTS]
        held = {"weights": numpy.append(numpy.nan, iso)} if self._trades else {}
        start = self._first_of_memory()
        number, *others = self._first_of_flops(held, len(held["weights"]) if held else 1, start)
        if number > self.most:
            (limit,) = self._with_memory(self._settings(numpy.array([self.most * STEP])))
            return Answer(limit=limit, unreached=self._beyond(limit))
        moving = numpy.array([number, *others]) * STEP
        shown = [True, *_of_use(others, self.most)]
        found = self._settings(moving[shown], {name: each[shown] for name, each in held.items()})
        (least,) = self._with_memory(found[:1])
        return Answer(least=least, exact=self._exactly(), freedom=tuple(found[1:]))

    @cached_property
    def most(self) -> int:
        """The last step that the distribution can give, which layers that are kept dense may hold below _MOST.

        Raises SwatcostError where it cannot give the first ones, such as one that says itself how sparse weights are.
        """
        if self._refusal(_MOST) is None:
            return _MOST
        if (why := self._refusal(0) or self._refusal(1)) is not None:
            if "weights" not in self.free:
                raise why
            name = self.vectorised.setting.distribution.name
            raise SwatcostError(f"distribution {name!r} leaves no sparsity of weights to look for: {_reason(why)}")
        given, refused = 0, _MOST
        while refused - given > 1:
            middle = (given + refused) // 2
            given, refused = (middle, refused) if self._refusal(middle) is None else (given, middle)
        return given

    def _refusal(self, number: int) -> SwatcostError | None:
        """Why no plan has this step."""
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

    def _exactly(self) -> float | None:
        """The sparsity that the goals need as `exact` counts; None where they are about more, or it is out of reach."""
        if not self.free or self.vectorised.setting.convention is EXACT or self.goals.memory_bytes is not None:
            return None
        exact = self.vectorised.setting.but(convention=EXACT)
        counted = replace(self, vectorised=replace(self.vectorised, setting=exact))
        number = int(counted._first_of_flops({}, 1)[0])
        return number * STEP if number <= self.most else None

    def _beyond(self, limit: OperatingPoint) -> tuple[str, ...]:
        """The goals that the limit does not reach."""
        goals = self.goals
        beyond = {
            "speedup": goals.speedup is not None and limit.speedup < goals.speedup,
            "training_flops": goals.training_flops is not None and limit.training_flops > goals.training_flops,
            "memory_bytes": goals.memory_bytes is not None and (limit.memory_bytes or 0) > goals.memory_bytes,
        }
        return tuple(name for name, is_beyond in beyond.items() if is_beyond)

    def _first_of_flops(self, held: dict[str, Array], lines: int, start: int = 0) -> Any:
        """On each of so many lines the first step that meets the goals of speed and FLOPs; beyond the last if none.

        held are operands that do not move along a line, one value a line; NaN where they do.
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
        """On each line of steps the place of the first that meets the goals; their number if none does."""
        lines, width = steps.shape
        on_lines = {name: numpy.repeat(values, width) for name, values in held.items()}
        met = self._meets(self.vectorised.times(self._targets(steps.reshape(-1) * STEP, on_lines)))
        met = met.reshape(lines, width)
        return numpy.where(met.any(axis=1), met.argmax(axis=1), width)

    def _meets(self, times: Times) -> Any:
        met = numpy.ones(len(times.reduction), dtype=bool)
        if self.goals.speedup is not None:
            met &= times.speedup(self._period(times)) >= self.goals.speedup
        if self.goals.training_flops is not None:
            met &= 1 - times.reduction <= self.goals.training_flops
        return met

    def _period(self, times: Times) -> Any:
        """The period that was given; or the shortest that the goals allow, where it is what is looked for."""
        if self.goals.topk_overhead is not None:
            return times.period_of_overhead(self.goals.topk_overhead)
        if self.period is None and not self.free and self.goals.speedup is not None:
            return times.period_of_speedup(self.goals.speedup)
        return numpy.full(len(times.topk_seconds), self.period or self.vectorised.setting.period)

    def _first_of_memory(self) -> int:
        """The first step whose compressed peak fits, by halving; 0 where memory is no goal, beyond the last if none."""
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
        """The one setting with its peak, where memory is a goal."""
        if self.goals.memory_bytes is None:
            return found
        moving = next((getattr(found[0], name) for name in self.free), 0.0)
        return [replace(found[0], memory_bytes=self._peak(self._plan(numpy.array([moving])), 0))]

    def _peak(self, plan: SparsityPlan, place: int) -> int:
        view = sparse_memory(self.vectorised.network, _one_of(plan, place), self._dense_step)
        return view.compressed_peak if view.compressed < view.dense.saved_bytes else view.dense.peak.bytes

    @cached_property
    def _dense_step(self) -> StepMemory:
        asked = self.vectorised
        return training_memory(
            asked.network, batch_size=asked.setting.batch_size, optimizer=self.optimizer, precision=self.precision
        )

    def _plan(self, moving: Array) -> SparsityPlan:
        targets = self._targets(moving, {})
        return self.vectorised.plan(*(targets.get(name, missing(len(moving))) for name in OPERANDS))

    def _targets(self, moving: Array, held: dict[str, Array]) -> dict[str, Array]:
        """Every operand's target: what is fixed, what is held on a line, and what moves."""
        fixed = {name: numpy.full(len(moving), value) for name, value in self.fixed.items()}
        on_lines = {name: numpy.where(numpy.isnan(values), moving, values) for name, values in held.items()}
        return {**dict.fromkeys(self.free, moving), **fixed, **on_lines}

    def _settings(self, moving: Array, held: dict[str, Array] | None = None) -> list[OperatingPoint]:
        targets = self._targets(moving, held or {})
        times = self.vectorised.times(targets)
        periods = self._period(times)
        speedups, overheads = times.speedup(periods), times.overhead(periods)
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
            )
            for each in range(len(moving))
        ]


def _of_use(acts: Sequence[int], most: int) -> list[bool]:
    """Which weights of the iso-line are a choice: those that reach it, up to the first that need no activations."""
    return [each <= most and 0 not in acts[:place] for place, each in enumerate(acts)]


def _reason(error: SwatcostError) -> str:
    """What a distribution said, without the target that nobody gave."""
    return str(error).partition(": ")[2].removesuffix(", leave weights out") or str(error)


def _at(target: Array | None, place: int) -> float | None:
    return None if target is None else float(target[place].round(6))  # a step times STEP has dust


def _one_of(plan: SparsityPlan, place: int) -> SparsityPlan:
    """One setting of a plan for many."""

    def chosen(value: Any) -> float:
        return float(value[place] if getattr(value, "shape", ()) else value)

    layers = (LayerSparsity(chosen(each.weight), chosen(each.activation), chosen(each.output)) for each in plan.layers)
    pattern = None if plan.pattern is None else (int(chosen(plan.pattern[0])), int(chosen(plan.pattern[1])))
    return replace(plan, layers=tuple(layers), pattern=pattern)
