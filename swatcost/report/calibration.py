"""A calibration as tables: the measurements, the fitted profile, and its errors."""

from dataclasses import asdict
from typing import Any

import msgspec

from swatcost.devices.fits import fitted
from swatcost.reference.calibration import Calibration
from swatcost.report.measured import measured_notes, measured_tables
from swatcost.report.numbers import percent, scaled, seconds, signed
from swatcost.report.sheet import Sheet, Table

_SCATTERED = 1.0  # |measured / fitted − 1| [-]

TABLE_9 = {1_000: 15_215, 10_000: 217_863, 100_000: 1_381_744, 1_000_000: 12_454_369}
"""Retired instructions of numpy.partition by array size: SWAT, Table 9."""


def sheet(calibration: Calibration, layers: bool = False) -> Sheet:
    return Sheet(
        opening=[f"{calibration.device.title}: {calibration.device.source}"],
        tables=[
            _rates(calibration),
            *measured_tables(calibration),
            _selections(calibration),
            _lines(calibration),
            *([_instructions(calibration)] if calibration.instructions else []),
            *([_predictions(calibration)] if calibration.predictions else []),
        ],
        notes=_notes(calibration),
    )


def _rates(calibration: Calibration) -> Table:
    rows = []
    for name, rates in (
        ("dense steps, fitted", calibration.device.rates),
        ("products and copies, peak", calibration.device.peaks),
    ):
        if rates is not None:
            rows.append([name, f"{scaled(rates.macs_per_second, 'MAC')}/s", f"{scaled(rates.bytes_per_second, 'B')}/s"])
    return Table(["rates", "multiply-\naccumulates", "memory"], rows)


def _selections(calibration: Calibration) -> Table:
    """Time per element, by array size."""
    sizes = sorted({each.elements for each in calibration.selections})
    by_name: dict[str, dict[int, float]] = {}
    for each in calibration.selections:
        by_name.setdefault(each.algorithm, {})[each.elements] = each.seconds
    rows = [[name, *(f"{seconds[size] / size * 1e9:.2f}" for size in sizes)] for name, seconds in by_name.items()]
    return Table(["threshold,\nns per element", *(f"{scaled(size)}\nelements" for size in sizes)], rows)


def _lines(calibration: Calibration) -> Table:
    """The line fitted to each algorithm's times, and its largest error."""
    rows = [
        [
            fit.algorithm,
            f"{fit.fixed * 1e6:.1f} µs",
            f"{fit.per_element * 1e9:.2f} ns",
            "n" if fit.growth == "linear" else fit.growth,
            percent(fit.worst_residual),
        ]
        for fit in calibration.device.selections
    ]
    return Table(["fitted line", "fixed", "slope", "per", "largest error"], rows)


def _instructions(calibration: Calibration) -> Table:
    """Table 9 for this machine."""
    by_path: dict[str, dict[int, float]] = {}
    for each in calibration.instructions:
        by_path.setdefault(each.dispatch, {})[each.elements] = each.instructions
    rows = [
        [f"{size:,}", f"{printed:,}", f"{printed / size:.1f}"]
        + [cell for found in by_path.values() for cell in _counted(found.get(size), size)]
        for size, printed in TABLE_9.items()
    ]
    header = ["instructions,\narray size", "Table 9", "per\nelement"]
    for path in by_path:
        header += [path, "per\nelement"]
    return Table(header, rows)


def _counted(instructions: float | None, size: int) -> list[str]:
    return ["", ""] if instructions is None else [f"{instructions:,.0f}", f"{instructions / size:.1f}"]


def _predictions(calibration: Calibration) -> Table:
    rows = [
        [
            each.network + ("" if each.calibrated_on else " (unseen)"),
            each.quantity,
            seconds(each.predicted),
            seconds(each.measured),
            f"{signed(100 * each.error, 1)} %",
        ]
        for each in calibration.predictions
    ]
    return Table(["network", "", "predicted", "measured", "error"], rows, text_columns=2)


def _notes(calibration: Calibration) -> list[str]:
    device = calibration.device
    sentences = measured_notes(calibration)
    if calibration.predictions:
        batch = calibration.predictions[0].batch_size
        sentences += [
            f"A step is a forward and backward pass of {batch} samples in single precision, without the optimizer. "
            "Predictions use the measured step of a measured network, and the sum of its operations for an unseen one.",
            "The SWAT step is the reference's: dense kernels on masked tensors, which save no time.",
        ]
    sentences += [
        "The time of a selection is fixed + slope · elements (n log n for sort), fitted to relative errors over the "
        "sizes above; estimates beyond them are marked as extrapolated.",
    ]
    scattered = [fit.algorithm for fit in device.selections if fit.exact and fit.worst_residual > _SCATTERED]
    if scattered:
        sentences.append(
            f"The times of {', '.join(scattered)} are off their lines by more than a factor of two: their cost is not "
            "linear, or the machine was busy."
        )
    if device.rates is not None and device.rates.worst_residual is not None:
        sentences.append(
            f"The fitted rates are off by up to {percent(device.rates.worst_residual)} for the measured steps."
        )
    elif device.dense_steps:
        sentences.append("Throughput and bandwidth could not be told apart in the measured steps.")
    counters = {each.counter for each in calibration.instructions}
    if counters:
        sentences.append(f"Instructions of numpy.partition: counted by {', '.join(sorted(counters))}.")
        sentences += _growth(calibration)
    else:
        sentences.append("Instructions were not counted: switched off, or neither hardware counters nor valgrind here.")
    return sentences


def _growth(calibration: Calibration) -> list[str]:
    """Whether instructions grow linearly: the fitted line and its largest error."""
    sentences = []
    for path in dict.fromkeys(each.dispatch for each in calibration.instructions):
        own = [each for each in calibration.instructions if each.dispatch == path]
        if len(own) > 2:
            fit = fitted([(1.0, each.elements) for each in own], [each.instructions for each in own])
            sentences.append(
                f"{path}: {fit.coefficients[0]:,.0f} + {fit.coefficients[1]:.1f} · elements instructions, off by up to "
                f"{percent(fit.worst_residual)}."
            )
    return sentences


def to_dict(calibration: Calibration) -> dict[str, Any]:
    """The calibration as plain data."""
    device: dict[str, Any] = msgspec.to_builtins(calibration.device)
    return {
        "schema": "swatcost.calibration/1",
        "device": device,
        "operations": [asdict(each) for each in calibration.operations],
        "disturbed": list(calibration.disturbed),
        "left_out": [asdict(each) for each in calibration.left_out],
        "selections": [asdict(each) for each in calibration.selections],
        "instructions": [asdict(each) for each in calibration.instructions],
        "predictions": [asdict(each) | {"error": each.error} for each in calibration.predictions],
    }


def rows(calibration: Calibration) -> list[dict[str, Any]]:
    """One row per measurement."""
    rows = [
        {"kind": "selection", "name": each.algorithm, "size": each.elements, "measured": each.seconds,
         "predicted": each.fitted, "unit": "s"}
        for each in calibration.selections
    ]  # fmt: skip
    rows += [
        {"kind": each.kind, "name": f"{each.name}; {each.precision} {each.in_pass}", "size": each.macs or each.bytes,
         "measured": each.seconds, "predicted": "", "unit": "s"}
        for each in calibration.operations
    ]  # fmt: skip
    rows += [
        {"kind": "instructions", "name": each.dispatch, "size": each.elements, "measured": each.instructions,
         "predicted": "", "unit": "instructions"}
        for each in calibration.instructions
    ]  # fmt: skip
    rows += [
        {"kind": each.quantity, "name": each.network, "size": each.batch_size, "measured": each.measured,
         "predicted": each.predicted, "unit": "s"}
        for each in calibration.predictions
    ]  # fmt: skip
    return rows
