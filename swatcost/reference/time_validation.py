"""The predicted times of training steps beside those of steps that are run here and now."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Unpack, get_args

import torch

from swatcost.common.errors import SwatcostError
from swatcost.common.result import Result
from swatcost.common.units import checked_count, checked_seed
from swatcost.devices import Device
from swatcost.estimate import Estimate, estimate_setting
from swatcost.memory.execution import Execution
from swatcost.planning.capacity import view_of
from swatcost.reference.chosen_kernels import has_numba
from swatcost.reference.conversion import Converted, convert
from swatcost.reference.executed_steps import Elapsed, TrainingStep
from swatcost.reference.predicted_steps import Predictions
from swatcost.reference.quiet import watched
from swatcost.reference.runnable import runnable
from swatcost.reference.scopes import TIMING
from swatcost.reference.step_observer import PartKey
from swatcost.reference.this_machine import conditions, is_plainly_another, machine, memory_bytes
from swatcost.reference.timed_steps import Repeated, TimedPart, TimedStep, TimedSteps
from swatcost.setting import EVERY_SETTING, Settings

TimedKernels = Literal["auto", "dense"]
"""Whether steps on the program's own sparse kernels are timed too: where the profile has them faster, or not at all."""

_WARM_UP = 2  # steps, after which the allocator has what a step needs


@dataclass(frozen=True, kw_only=True, repr=False)
class TimeValidation(Result):
    """Predicted times beside measured ones, for each way in which steps were executed. Its repr is the tables.

    `estimate` has the predictions. `machine` and `conditions` are those of the measurement, and `others` is the share
    of the processors that other programs had meanwhile [-]; `elsewhere` says that the predictions are plainly for
    another machine. `unmatched` are counted layers that no executed product was found for, `left_dense` weights that
    the reference could not make sparse, and `selection` is how it found thresholds.
    """

    report = "time_validation"

    estimate: Estimate
    repetitions: int
    machine: str
    conditions: str
    others: float
    elsewhere: bool
    executed: tuple[TimedSteps, ...]
    unmatched: tuple[str, ...]
    left_dense: tuple[str, ...]
    selection: str

    @property
    def setting(self) -> dict[str, Any]:
        """What was asked for, as plain data, defaults included."""
        asked = self.estimate.setting.record()
        return {name: asked[name] for name in TIMING.options} | {"selection": self.selection}

    @property
    def average(self) -> tuple[float | None, float] | None:
        """A masked step with its share of a Top-K every period [s], predicted and measured; None without a Top-K."""
        return self.executed[1].average(self.estimate.topk_period) if len(self.executed) > 1 else None

    def speedup(self, executed: TimedSteps) -> tuple[float | None, float]:
        """The dense step over the average one of another kind [-], predicted and measured."""
        dense, step = self.executed[0].step, executed.step
        predicted, measured = executed.average(self.estimate.topk_period) or (step.predicted, step.measured.median)
        foreseen = None if dense.predicted is None or predicted is None else dense.predicted / predicted
        return foreseen, dense.measured.median / measured


def validate_time(
    model: str,
    *,
    input_shape: tuple[int, ...] | None = None,
    classes: int | None = None,
    seed: int = 0,
    repetitions: int = 5,
    kernels: TimedKernels = "auto",
    progress: Callable[[int, int], object] = lambda done, of: None,
    **settings: Unpack[Settings],
) -> TimeValidation:
    """Runs training steps on this machine's processor, and compares predicted times with those that they take.

    Steps are dense, with torch's own layers, and if a sparsity is asked for also Algorithm 1 on masked tensors, with
    thresholds that are reused and that are found. With kernels "auto", the same is run on the program's own sparse
    kernels, in those passes that the device's profile predicts to be faster so, if there are any. Each kind is run
    `repetitions` times after a warm-up, and as often with every operation timed. model is what `runnable` takes; its
    inputs are noise. settings are those of `estimate` in the scope `TIMING`. progress is called before the first step
    and after each, with the number of steps done and of all.

    Raises SwatcostError for settings that cannot be run, and for a batch that does not fit in memory.
    """
    asked = {**TIMING.defaults, **TIMING.given(settings)}
    selection, repetitions = asked.pop("selection"), checked_count(repetitions, "repetitions")
    checked_seed(seed)
    if kernels not in get_args(TimedKernels):
        raise SwatcostError(f"kernels {kernels!r}: choose from {', '.join(get_args(TimedKernels))}")
    setting = EVERY_SETTING.setting(asked if selection == "exact" else {**asked, "selection": selection})
    if not isinstance(setting.device, Device):
        raise SwatcostError(f"device {setting.device.name}: an accelerator's cycles are simulated, give a device")
    built = runnable(model, classes=classes, input_shape=input_shape, seed=seed)
    found = estimate_setting(built.network, setting)
    _check_fits(found)
    noise = torch.Generator().manual_seed(seed)
    inputs = torch.randn(found.batch_size, *built.input_shape, generator=noise)
    floats = (each.dtype for each in built.module.parameters() if each.is_floating_point())
    step = TrainingStep(built.module, built.network, inputs.to(next(floats, inputs.dtype)))
    running = _Running(found, step, repetitions, progress, kernels)
    converting = partial(convert, built.module, found, selection=selection, one_sample=setting.one_sample, seed=seed)
    left_dense: tuple[str, ...] = ()
    if running.is_sparse:
        converting().undo()  # raises for what cannot be run, before anything is
    running.reached()
    dense, others = watched(running.dense)
    executed = [dense]
    if running.is_sparse:
        with converting() as converted:
            masked, meanwhile = watched(partial(running.sparse, converted, "masked"))
            left_dense = converted.left_dense
        executed.append(masked)
        others = max(others, meanwhile)
    if running.has_kernels:
        with converting(kernels="auto") as converted:
            sparse, meanwhile = watched(partial(running.sparse, converted, "sparse"))
        executed.append(sparse)
        others = max(others, meanwhile)
    seen = {each.layer for each in executed[0].parts}
    layers = enumerate(built.network.counted_layers)
    return TimeValidation(
        estimate=found,
        repetitions=repetitions,
        machine=machine(),
        conditions=conditions(),
        others=others,
        elsewhere=is_plainly_another(setting.device.title, machine()),
        executed=tuple(executed),
        unmatched=tuple(layer.name for place, layer in layers if place not in seen),
        left_dense=left_dense,
        selection=selection,
    )


def _check_fits(found: Estimate) -> None:
    """Raises SwatcostError if this machine's memory is smaller than a step's peak."""
    view = view_of(found.network, found.plan, found.batch_size, Execution.of())
    needed = max(view.dense.peak.bytes, view.naive_peak if found.plan.asks_for_sparsity else 0)
    if needed > memory_bytes():
        raise SwatcostError(
            f"batch_size {found.batch_size}: a step takes {needed / 1e9:,.1f} GB, and this machine has "
            f"{memory_bytes() / 1e9:,.1f} GB: give a smaller one"
        )


class _Running:
    """Runs the steps of a validation, and lays their times beside the predictions."""

    def __init__(
        self,
        found: Estimate,
        step: TrainingStep,
        repetitions: int,
        progress: Callable[[int, int], object],
        kernels: TimedKernels,
    ) -> None:
        self._estimate, self._step, self._repetitions, self._progress = found, step, repetitions, progress
        self._predictions = Predictions(found)
        self.is_sparse = found.plan.asks_for_sparsity
        self.has_kernels = self.is_sparse and kernels == "auto" and has_numba() and self._predictions.has_sparse
        self._done, self._of = -1, _WARM_UP + 2 * repetitions
        self._of += (self.is_sparse + self.has_kernels) * (_WARM_UP + 3 * repetitions)

    def dense(self) -> TimedSteps:
        """Steps of torch's own layers."""
        for _ in range(_WARM_UP):
            self._timed()
        times, observed = [], []
        for _ in range(self._repetitions):  # in turn, so that both meet the same disturbances
            times.append(self._timed())
            observed.append(self._observed())
        predictions = self._predictions
        step = self._beside(predictions.dense, times)
        parts = self._parts(predictions.dense_parts, predictions.dense_parts, [parts for parts, _ in observed])
        return TimedSteps(
            kernels="dense",
            steps=(step,),
            parts=(*parts, *self._update(step)),
            observed=Repeated(tuple(seconds for _, seconds in observed)),
        )

    def sparse(self, converted: Converted, kernels: Literal["masked", "sparse"]) -> TimedSteps:
        """Steps of Algorithm 1, on masked dense tensors or on sparse kernels."""
        clock = converted.clock
        clock.period = 2  # steps that find thresholds and such that reuse them take turns
        for _ in range(_WARM_UP):
            self._timed()
        finding, reusing, observed = [], [], []
        for _ in range(self._repetitions):
            finding.append(self._timed())
            reusing.append(self._timed())
            clock.iteration += 1  # the next iteration reuses thresholds, as this one did
            observed.append(self._observed())
        predictions = self._predictions
        predicted, expected = predictions.masked, {**predictions.dense_parts, **predictions.masking}
        if kernels == "sparse":
            predicted, expected = float(predictions.sparse_step.seconds), dict(predictions.sparse_parts)
        step = self._beside(predicted, reusing)
        finds = self._beside(predictions.refreshing(predicted), finding, refreshes=True)
        known = predictions.dense_parts
        parts = self._parts(expected, known, [parts for parts, _ in observed])
        return TimedSteps(
            kernels=kernels,
            steps=(step, *([finds] if self._estimate.plan.method.selects else [])),
            parts=(*parts, *self._update(step)),
            observed=Repeated(tuple(seconds for _, seconds in observed)),
        )

    def _timed(self) -> Elapsed:
        elapsed = self._step.timed()
        self.reached()
        return elapsed

    def _observed(self) -> tuple[dict[PartKey, float], float]:
        found = self._step.observed(self._estimate.batch_size, self._predictions.kinds)
        self.reached()
        return found

    def reached(self) -> None:
        """One more step is done; the first call says that none is yet."""
        self._done += 1
        self._progress(self._done, self._of)

    def _beside(self, predicted: float | None, times: Sequence[Elapsed], *, refreshes: bool = False) -> TimedStep:
        return TimedStep(
            refreshes=refreshes,
            predicted=predicted,
            passes=Repeated(tuple(each.passes for each in times)),
            update=Repeated(tuple(each.update for each in times)),
            predicts_update=self._predictions.has_update,
        )

    def _parts(
        self,
        expected: Mapping[PartKey, float],
        known: Mapping[PartKey, float],
        observed: Sequence[Mapping[PartKey, float]],
    ) -> list[TimedPart]:
        """The parts that are predicted or measured: layers in execution order, then other kinds.

        Where the profile tells the parts of a step, what it does not predict is predicted to take no time.
        """
        missing = 0.0 if known else None
        keys = dict.fromkeys([*expected, *(key for each in observed for key in each)])
        ordered = sorted(keys, key=lambda key: (key.layer is None, key.layer or 0, key.kind, key.in_pass != "forward"))
        layers = self._estimate.network.counted_layers
        return [
            TimedPart(
                name=key.kind if key.layer is None else layers[key.layer].name,
                kind=key.kind,
                in_pass=key.in_pass,
                layer=key.layer,
                predicted=expected.get(key, missing),
                measured=Repeated(tuple(each.get(key, 0.0) for each in observed)),
            )
            for key in ordered
        ]

    def _update(self, step: TimedStep) -> list[TimedPart]:
        """The optimizer's update, timed as a whole."""
        name = self._estimate.setting.optimizer
        return [
            TimedPart(
                name=name, kind="optimizer", in_pass="update", layer=None, predicted=self._predictions.update,
                measured=step.update,
            )
        ]  # fmt: skip
