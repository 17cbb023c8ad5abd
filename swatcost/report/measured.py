"""The measured operations, streams and sparse kernels of a calibration as tables."""

from collections.abc import Sequence
from statistics import median

from swatcost.devices.kernels import Kernel
from swatcost.reference.calibration import Calibration, TimedOperation
from swatcost.reference.quiet import DISTURBED
from swatcost.report.numbers import percent, seconds, times
from swatcost.report.sheet import Caveat, Table

_GIGA = 1e9


def measured_tables(calibration: Calibration) -> list[Table]:
    """One table each of dense operations, of streams and of sparse kernels, if there are any."""
    dense = [each for each in calibration.operations if each.macs]
    streams = [each for each in calibration.operations if not each.macs]
    kernels = calibration.device.kernels
    found = [_operations(dense)] if dense else []
    found += [_streams(streams)] if streams else []
    found += [_kernels(kernels)] if kernels else []
    return found + ([_left_out(calibration)] if calibration.left_out else [])


def _operations(operations: Sequence[TimedOperation]) -> Table:
    """Throughput by kind, pass and precision."""
    rows = []
    for kind, in_pass, precision in dict.fromkeys((each.kind, each.in_pass, each.precision) for each in operations):
        own = [each for each in operations if (each.kind, each.in_pass, each.precision) == (kind, in_pass, precision)]
        rates = [2 * each.macs / each.seconds / _GIGA for each in own]  # 1 MAC = 2 FLOPs
        rows.append([kind, in_pass, precision, str(len(own)), *_low_middle_high(rates)])
    header = ["operation,\nGFLOP/s", "pass", "precision", "shapes", "lowest", "median", "highest"]
    return Table(header, rows, text_columns=3)


def _streams(streams: Sequence[TimedOperation]) -> Table:
    """The time of the smallest call, and the bandwidth of small, medium and large ones."""
    rows = []
    for name in dict.fromkeys(each.name for each in streams):
        own = sorted((each for each in streams if each.name == name), key=lambda each: each.bytes)
        chosen = [own[0], own[len(own) // 2], own[-1]]
        rates = [f"{each.bytes / each.seconds / _GIGA:.2f}" for each in chosen]
        rows.append([name, own[0].kind, seconds(own[0].seconds), *rates])
    return Table(["stream,\nGB/s", "kind", "smallest\ncall", "smallest", "medium", "largest"], rows, text_columns=2)


def _kernels(kernels: Sequence[Kernel]) -> Table:
    """The speed over the dense kernel by density: the median over shapes."""
    densities = sorted({each.density for kernel in kernels for each in kernel.points}, reverse=True)
    rows = []
    for kernel in kernels:
        for in_pass in dict.fromkeys(each.in_pass for each in kernel.points):
            cells = []
            for density in densities:
                own = [1 / each.time_over_dense for each in kernel.points if each[0] == in_pass and each[4] == density]
                cells.append(times(median(own)) if own else "")
            rows.append([kernel.name, ", ".join(kernel.kinds), in_pass, *cells])
    header = ["sparse kernel,\nspeedup over dense", "layers", "pass", *(f"density\n{each:g}" for each in densities)]
    return Table(header, rows, text_columns=3)


def _left_out(calibration: Calibration) -> Table:
    """How well a kind's other shapes predict one that is left out."""
    rows = [
        [each.name, each.in_pass, each.precision, str(each.shapes), percent(each.median), percent(each.worst)]
        for each in calibration.left_out
    ]
    return Table(["one shape left out", "pass", "precision", "shapes", "median error", "worst"], rows, text_columns=3)


def _low_middle_high(values: Sequence[float]) -> list[str]:
    return [f"{each:.1f}" for each in (min(values), median(values), max(values))]


def measured_notes(calibration: Calibration) -> list[str]:
    """What the measured times contain."""
    sentences: list[str] = []
    if any(each.macs for each in calibration.operations):
        sentences.append(
            "Operations are timed in chains of calls: the operand that the layer before writes is written anew before "
            "each call, the other one has left the caches, and results stay until the next chain's replace them."
        )
    if calibration.device.kernels:
        sentences.append(
            "A sparse kernel and torch's dense one of the same shape take turns; the speedup is the median over "
            "shapes. Below 1 it is slower than dense."
        )
        measures = {each.name: each.measures for each in calibration.device.kernels}
        sentences += [f"{name}: {each}." for name, each in measures.items()]
    if calibration.disturbed:
        sentences.append(
            Caveat(
                f"{len(calibration.disturbed)} measurements were disturbed: other programs had more than "
                f"{percent(DISTURBED)} of the processors, also when they were repeated ({calibration.disturbed[0]} …)."
            )
        )
    return sentences
