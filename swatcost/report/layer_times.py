"""Predicted and measured times of layers, as a table."""

from collections.abc import Sequence

from swatcost.reference.step_observer import MASKING
from swatcost.reference.time_validation import TimeValidation
from swatcost.reference.timed_steps import Repeated, TimedPart, TimedSteps
from swatcost.report.numbers import signed
from swatcost.report.sheet import Table

UNKNOWN = "no data"
"""Stands for a prediction that a device's profile does not give."""


def error(predicted: float | None, measured: float) -> str:
    """Predicted over measured, less 1; empty without a prediction."""
    return "" if predicted is None or not measured else f"{signed(100 * (predicted / measured - 1), 1)} %"


def layer_table(validation: TimeValidation, detail: str) -> Table:
    """One row per layer and their total: the medians of its products' times, and of its operands' masking."""
    dense, *others = validation.executed
    layers = validation.estimate.network.counted_layers
    columns: list[list[str]] = [["layer", *(each.name for each in layers), "total"]]
    for in_pass in ("forward", "backward") if detail == "wide" else ():
        columns.append(_column(f"dense\n{in_pass},\npredicted\n[ms]", _predicted(dense, len(layers), in_pass)))
        columns.append(_column("measured\n[ms]", _medians(dense, len(layers), in_pass)))
    predicted, measured = _predicted(dense, len(layers)), _medians(dense, len(layers))
    if detail != "wide":
        columns.append(_column("dense,\npredicted\n[ms]", predicted))
        columns.append(_column("measured\n[ms]", measured))
    if detail != "narrow":
        columns.append(["middle half\n[ms]", *map(_half, _times(dense, len(layers))), ""])
    errors = [error(*each) for each in zip(predicted, measured, strict=True)]
    columns.append(["error", *errors, error(_total(predicted), sum(measured))])
    for each in others if detail == "wide" else ():
        if each.kernels == "sparse":
            for in_pass in ("forward", "backward"):
                heading = f"sparse\n{in_pass},\npredicted\n[ms]"
                columns.append(_column(heading, _predicted(each, len(layers), in_pass)))
                columns.append(_column("measured\n[ms]", _medians(each, len(layers), in_pass)))
            continue
        columns.append(_column(f"{each.kernels}\nforward\n[ms]", _medians(each, len(layers), "forward")))
        columns.append(_column("backward\n[ms]", _medians(each, len(layers), "backward")))
        columns.append(_column("masking\n[ms]", _medians(each, len(layers), masking=True)))
    header, *rows = map(list, zip(*columns, strict=True))
    return Table(header, rows)


def _column(heading: str, values: Sequence[float | None]) -> list[str]:
    return [heading, *map(_ms, values), _ms(_total(values))]


def _ms(value: float | None) -> str:
    return UNKNOWN if value is None else f"{1e3 * value:.3f}"


def _half(times: Repeated) -> str:
    return "–".join(map(_ms, times.quartiles))


def _total(values: Sequence[float | None]) -> float | None:
    known = [each for each in values if each is not None]
    return sum(known) if len(known) == len(values) else None


def _of_layer(executed: TimedSteps, place: int, in_pass: str | None, masking: bool) -> list[TimedPart]:
    return [
        each for each in executed.parts
        if each.layer == place and in_pass in (None, each.in_pass) and (each.kind == MASKING) == masking
    ]  # fmt: skip


def _predicted(
    executed: TimedSteps, layers: int, in_pass: str | None = None, *, masking: bool = False
) -> list[float | None]:
    """What is predicted of each layer [s]; None where nothing is."""
    parts = [_of_layer(executed, place, in_pass, masking) for place in range(layers)]
    missing = 0.0 if any(each.predicted is not None for own in parts for each in own) else None
    return [_total([each.predicted for each in own]) if own else missing for own in parts]


def _times(executed: TimedSteps, layers: int, in_pass: str | None = None, *, masking: bool = False) -> list[Repeated]:
    """The measured times of each layer."""
    nothing = Repeated((0.0,) * len(executed.observed.seconds))
    return [
        sum((each.measured for each in _of_layer(executed, place, in_pass, masking)), nothing)
        for place in range(layers)
    ]


def _medians(executed: TimedSteps, layers: int, in_pass: str | None = None, *, masking: bool = False) -> list[float]:
    return [each.median for each in _times(executed, layers, in_pass, masking=masking)]
