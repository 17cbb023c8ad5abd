"""Predicted and measured times of steps as a table, Markdown, LaTeX, CSV or JSON."""

from collections.abc import Iterable, Sequence
from typing import Any

from swatcost.reference.quiet import DISTURBED
from swatcost.reference.time_validation import TimeValidation
from swatcost.reference.timed_steps import Repeated, TimedPart, TimedStep, TimedSteps
from swatcost.report.estimate import machine, setting, title, unmeasured
from swatcost.report.layer_times import UNKNOWN, error, layer_table
from swatcost.report.numbers import percent, seconds, times
from swatcost.report.sheet import Caveat, Sheet, Table
from swatcost.report.time_notes import dense_step_source

_ROWS = 6  # kinds of operation that have a row of their own


def sheet(validation: TimeValidation, layers: bool = False) -> Sheet:
    estimate = validation.estimate
    return Sheet(
        opening=[
            title(estimate.network),
            f"{setting(estimate)}; batch {estimate.batch_size}, {_count(validation.repetitions)}",
            f"Predicted for {machine(estimate.device)}: {estimate.device.title}. "
            f"Measured here: {validation.machine}, {validation.conditions}.",
            *_elsewhere(validation),
        ],
        tables=[_steps(validation), _kinds(validation)],
        notes=notes(validation),
        layers=lambda detail: layer_table(validation, detail),
        shows_layers=layers,
        details=("wide", "medium", "narrow"),
        left_out={
            "wide": "",
            "medium": "passes, masked steps",
            "narrow": "passes, the middle half, masked steps",
        }.__getitem__,
    )


def _count(repetitions: int) -> str:
    return f"{repetitions} repetition{'s' * (repetitions != 1)}"


def _elsewhere(validation: TimeValidation) -> list[str]:
    if not validation.elsewhere:
        return []
    return [Caveat("ANOTHER MACHINE: errors below are differences between the two machines.")]


def _steps(validation: TimeValidation) -> Table:
    """Whole steps."""
    rows = []
    for executed in validation.executed:
        for step in executed.steps:
            low, high = step.measured.quartiles
            rows.append(
                [
                    _called(executed, step),
                    _seconds(step.predicted),
                    seconds(step.measured.median),
                    f"{seconds(low)} to {seconds(high)}",
                    error(step.predicted, step.measured.median),
                ]
            )
        if (average := executed.average(validation.estimate.topk_period)) is not None:
            predicted, measured = average
            name = f"{executed.kernels}, on average"
            rows.append([name, _seconds(predicted), seconds(measured), "", error(predicted, measured)])
    for executed in validation.executed[1:]:
        predicted, measured = validation.speedup(executed)
        gain = UNKNOWN if predicted is None else times(predicted)
        rows.append([f"speedup, {executed.kernels}", gain, times(measured), "", ""])
    return Table(["step", "predicted", "measured", "middle half", "error"], rows)


def _called(executed: TimedSteps, step: TimedStep) -> str:
    if executed.kernels == "dense":
        return "dense"
    if len(executed.steps) == 1:
        return executed.kernels
    return f"{executed.kernels}, {'with a Top-K' if step.refreshes else 'thresholds reused'}"


def _seconds(value: float | None) -> str:
    return UNKNOWN if value is None else seconds(value)


def _kinds(validation: TimeValidation) -> Table:
    """Where the time of a step without a Top-K goes: every product and operation by its kind, and the rest."""
    by_way = [_by_kind(each) for each in validation.executed]
    names = sorted({name for kinds in by_way for name in kinds}, key=lambda name: -_largest(name, by_way))
    wholes = [each.step for each in validation.executed]
    groups = [(name, [name]) for name in names[:_ROWS]]
    if small := names[_ROWS:]:
        groups.append((f"{len(small)} other kinds" if len(small) > 1 else small[0], small))
    rows = []
    for shown, members in groups:
        cells = []
        for way, kinds in zip(validation.executed, by_way, strict=True):
            found = [kinds[name] for name in members if name in kinds]
            predicted = sum(each[0] for each in found) if _tells(way, members) else None
            cells += _cells(predicted, sum(each[1] for each in found)) if found else ["", "", ""]
        rows.append([shown, *cells])
    rest, total = ["between operations"], ["step"]
    for step, kinds in zip(wholes, by_way, strict=True):
        measured = step.measured.median
        rest += ["", _signed_seconds(measured - sum(each[1] for each in kinds.values())), ""]
        total += _cells(step.predicted, measured)
    header = ["kind"]
    for each in validation.executed:
        header += [f"{each.kernels},\npredicted", "measured", "error"]
    return Table(header, [*rows, rest, total], divisible=True)


def _cells(predicted: float | None, measured: float) -> list[str]:
    return [_seconds(predicted), seconds(measured), error(predicted, measured)]


def _signed_seconds(value: float) -> str:
    return seconds(value) if value >= 0 else f"−{seconds(-value)}"


def _counted(executed: TimedSteps) -> Iterable[TimedPart]:
    """The parts of what a step's prediction is of: with the optimizer's update or without."""
    return (each for each in executed.parts if each.in_pass != "update" or executed.step.predicts_update)


def _by_kind(executed: TimedSteps) -> dict[str, tuple[float, float]]:
    """The predicted and the measured time of each kind, summed over layers and passes [s]."""
    found: dict[str, tuple[float, float]] = {}
    for each in _counted(executed):
        predicted, measured = found.get(each.kind, (0.0, 0.0))
        found[each.kind] = predicted + (each.predicted or 0.0), measured + each.measured.median
    return found


def _tells(executed: TimedSteps, kinds: Sequence[str]) -> bool:
    """Whether every part of these kinds is predicted."""
    return all(each.predicted is not None for each in _counted(executed) if each.kind in kinds)


def _largest(name: str, by_way: Iterable[dict[str, tuple[float, float]]]) -> float:
    return max(kinds[name][1] for kinds in by_way if name in kinds)


def notes(validation: TimeValidation) -> list[str]:
    """What was measured, and what the predictions rest on."""
    estimate = validation.estimate
    device, dense = estimate.device, validation.executed[0].step
    update = seconds(dense.update.median)
    covers = "and the optimizer's update" if dense.predicts_update else f"without the optimizer's update, {update}"
    sentences: list[str] = [
        *unmeasured([device]),
        f"A step is a forward pass, the loss ({estimate.network.conditions.loss}) and a backward pass, {covers}; SGD "
        "with momentum. Measured times are medians after a warm-up; the middle half is from the first to the third "
        "quartile. Errors are the prediction's: predicted over measured, less 1.",
        f"Dense step: {dense_step_source(estimate)}.",
        "Kinds and layers are timed in steps of their own, one operation at a time, so that medians do not add up "
        "exactly; a product's bias is part of it where torch adds both at once. Between operations are Python, "
        "autograd, views and allocations: a negative time says that the machine was slower when operations were timed.",
    ]
    if not validation.executed[0].predicts_parts:
        sentences.append(
            Caveat(
                f"The profile of {device.name} has no times of operations: only whole steps are predicted. `swatcost "
                "calibrate` measures a machine's operations."
            )
        )
    sentences += _of_masking(validation)
    if validation.unmatched:
        sentences.append(
            Caveat(f"NOT FOUND among the executed products, so not timed by layer: {', '.join(validation.unmatched)}.")
        )
    if validation.others > DISTURBED:
        sentences.append(
            Caveat(
                f"DISTURBED: other programs had {percent(validation.others)} of the processors meanwhile, so that "
                "measured times are too long."
            )
        )
    return sentences


def _of_masking(validation: TimeValidation) -> list[str]:
    """What masked steps are, where there are any."""
    if len(validation.executed) == 1:
        return []
    estimate = validation.estimate
    sentences: list[str] = [
        "Masked steps are Algorithm 1 executed on dense tensors with zeros: dense kernels, which save no time, and the "
        "masking of operands. Predicted: the dense step, masking, and in steps with a Top-K its time."
    ]
    if validation.executed[1].step.predicted is None:
        sentences.append(Caveat(f"The profile of {estimate.device.name} has no time for masking: no prediction."))
    own = estimate.device.topk.algorithm
    if validation.selection == "exact" and own is not None:
        sentences.append(
            Caveat(
                f"The Top-K of {estimate.device.name} was timed with {own}; the reference found thresholds by its own "
                "default, the fastest exact selection. --selection names another."
            )
        )
    sentences += _of_kernels(validation)
    if validation.left_dense:
        sentences.append(
            Caveat(
                f"LEFT DENSE in masked steps, as no layer of torch's own multiplies them: "
                f"{', '.join(validation.left_dense)}."
            )
        )
    return sentences


def _of_kernels(validation: TimeValidation) -> list[str]:
    """What steps on sparse kernels are, where there are any."""
    if len(validation.executed) < 3:
        return []
    return [
        "Sparse steps are the same with the program's own sparse kernels in those passes of layers that are faster "
        f"with them by the profile of {validation.estimate.device.name}. Picking out, ordering and copying operands "
        "are part of the pass that needs it, as is the masking for dense kernels. The rest is predicted as in a dense "
        "step."
    ]


def to_dict(validation: TimeValidation) -> dict[str, Any]:
    """The validation as plain data, in seconds."""
    estimate = validation.estimate
    average = validation.average
    return {
        "schema": "swatcost.time_validation/1",
        "model": estimate.network.name,
        "batch_size": estimate.batch_size,
        "method": estimate.plan.method.name,
        "distribution": estimate.plan.distribution.name,
        "topk_period": estimate.topk_period,
        "device": estimate.device.name,
        "device_title": estimate.device.title,
        "basis": estimate.dense_step.basis,
        "machine": validation.machine,
        "conditions": validation.conditions,
        "another_machine": validation.elsewhere,
        "others": validation.others,
        "repetitions": validation.repetitions,
        "setting": validation.setting,
        "executed": [
            {
                "kernels": executed.kernels,
                "steps": [_step(each) for each in executed.steps],
                "parts": [_part(each) for each in executed.parts],
                "observed_seconds": list(executed.observed.seconds),
                "speedup": dict(zip(("predicted", "measured"), validation.speedup(executed), strict=True)),
            }
            for executed in validation.executed
        ],
        "average_seconds": None if average is None else {"predicted": average[0], "measured": average[1]},
        "unmatched": list(validation.unmatched),
        "left_dense": list(validation.left_dense),
        "notes": [*map(str, (*_elsewhere(validation), *notes(validation)))],
    }


def _step(step: TimedStep) -> dict[str, Any]:
    return {
        "refreshes": step.refreshes,
        "predicted_seconds": step.predicted,
        "predicts_update": step.predicts_update,
        "measured_seconds": step.measured.median,
        "error": step.error,
        "passes_seconds": list(step.passes.seconds),
        "update_seconds": list(step.update.seconds),
    }


def _part(part: TimedPart) -> dict[str, Any]:
    return {
        "name": part.name,
        "kind": part.kind,
        "pass": part.in_pass,
        "layer": part.layer,
        "predicted_seconds": part.predicted,
        "measured_seconds": part.measured.median,
        "error": part.error,
        "seconds": list(part.measured.seconds),
    }


def rows(validation: TimeValidation) -> list[dict[str, Any]]:
    """One row per kind of step, and one per part of the steps without a Top-K."""
    found = []
    for executed in validation.executed:
        for step in executed.steps:
            found.append(_row(executed, "step", _called(executed, step), "", step.predicted, step.measured))
        for part in executed.parts:
            kind = part.kind if part.layer is not None else "other operations"
            found.append(_row(executed, kind, part.name, part.in_pass, part.predicted, part.measured))
    return found


def _row(
    executed: TimedSteps, kind: str, name: str, in_pass: str, predicted: float | None, measured: Repeated
) -> dict[str, Any]:
    low, high = measured.quartiles
    return {
        "kernels": executed.kernels,
        "kind": kind,
        "name": name,
        "pass": in_pass,
        "predicted_seconds": predicted,
        "measured_seconds": measured.median,
        "lower_quartile_seconds": low,
        "upper_quartile_seconds": high,
    }
