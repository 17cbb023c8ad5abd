"""A profile's tables of operations, streams and kernels, from what was measured, and rates fitted to them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import prod
from typing import Any

from swatcost.devices import Rates
from swatcost.devices.fits import fitted
from swatcost.devices.kernels import Kernel, KernelPoint
from swatcost.devices.operations import OperationPoint, OperationTimes, ProductPrecision, StreamPoint, StreamTimes
from swatcost.reference.measured_operations import moved_elements
from swatcost.reference.measurements import (
    Sizes,
    kernel_key,
    measured_kernels_of,
    measured_operations_of,
    operation_key,
    stream_key,
)

_LARGE_STREAM = 1_000_000  # bytes from which a stream's time is nearly all traffic
_OF_STEPS = (
    "elementwise",
    "batch normalisation",
)  # kinds of streams that most of a convolutional network's traffic is of
_VALUE = 4  # bytes of a number in fp32


@dataclass(frozen=True, kw_only=True)
class Tables:
    """What a profile says of operations, streams and kernels."""

    operations: tuple[OperationTimes, ...]
    streams: tuple[StreamTimes, ...]
    kernels: tuple[Kernel, ...]


def tables(
    sizes: Sizes, precisions: Sequence[ProductPrecision], on: str, source: str, results: Mapping[str, Any]
) -> Tables:
    """The tables; `results` has what was measured, by key."""
    return Tables(
        operations=_operations(sizes, precisions, results),
        streams=_streams(sizes, results),
        kernels=_kernels(sizes, on, source, results),
    )


def _grouped(rows: Sequence[Any], by: Callable[[Any], Any]) -> list[tuple[Any, list[Any]]]:
    """Rows that have something in common, in the order in which it first appears."""
    order = list(dict.fromkeys(map(by, rows)))
    return [(key, list(each)) for key, each in groupby(sorted(rows, key=lambda row: order.index(by(row))), by)]


def _operations(
    sizes: Sizes, precisions: Sequence[ProductPrecision], results: Mapping[str, Any]
) -> tuple[OperationTimes, ...]:
    rows = list(measured_operations_of(sizes, precisions))
    return tuple(
        OperationTimes(
            kind=kind, in_pass=in_pass, precision=precision,
            points=_unique([each[0].point(results[operation_key(*each)].seconds) for each in own]),
        )
        for (kind, in_pass, precision), own in _grouped(rows, lambda row: (row[0].kind, row[1], row[2]))
    )  # fmt: skip


def _unique(points: Sequence[OperationPoint]) -> tuple[OperationPoint, ...]:
    """One point per shape: 32 images of 7 × 7 may have as many rows as 8 of 14 × 14; their geometric mean."""
    return tuple(
        own[0]._replace(seconds=_rounded(_mean([each.seconds for each in own])))
        for _, own in _grouped(points, lambda point: point[:-1])
    )


def _rounded(value: float) -> float:
    """Five digits, more than a time is measured to."""
    return float(f"{value:.5g}")


def _mean(values: Sequence[float]) -> float:
    """The geometric mean."""
    return float(prod(each ** (1 / len(values)) for each in values))


def _streams(sizes: Sizes, results: Mapping[str, Any]) -> tuple[StreamTimes, ...]:
    found = []
    for (kind, in_pass), streams in _grouped(sizes.streams, lambda each: (each.kind, each.in_pass)):
        by_bytes: dict[int, float] = {}
        for size in sizes.stream_bytes:
            own = [results[stream_key(each, size)] for each in streams]
            bytes = round(_mean([each.bytes for each in own]))
            by_bytes.setdefault(bytes, _rounded(_mean([each.seconds for each in own])))
        points = tuple(StreamPoint(*each) for each in by_bytes.items())
        found.append(StreamTimes(kind=kind, in_pass=in_pass, points=points))
    return tuple(found)


def _kernels(sizes: Sizes, on: str, source: str, results: Mapping[str, Any]) -> tuple[Kernel, ...]:
    found = []
    for (kernel, kind), rows in _grouped(list(measured_kernels_of(sizes, on)), lambda row: (row[0], row[1].kind)):
        points = []
        for _, shape, in_pass, density in rows:
            result, at = results[kernel_key(kernel, shape, in_pass, density)], shape.point(1.0)
            ratio = _rounded(result.seconds / result.dense_seconds)
            points.append(KernelPoint(in_pass, at.rows, at.inner * at.window, at.outer, density, ratio))
        found.append(
            Kernel(
                name=kernel.name, title=kernel.title, pattern=kernel.pattern, operand=kernel.operand,
                precision=kernel.precision, kinds=(kind,), measures=kernel.measures, source=source,
                takes_masked=kernel.takes_masked,
                points=tuple(points), **({"window": 1, "stride": 1} if kind == "conv" else {}),
            )
        )  # fmt: skip
    return tuple(found)


def rates(sizes: Sizes, results: Mapping[str, Any]) -> Rates | None:
    """The throughput and bandwidth that best fit the dense operations in fp32 and the larger streams of one pass.

    None if only one of the two explains the times.
    """
    work: list[tuple[float, float]] = []
    seconds: list[float] = []
    for each in measured_operations_of(sizes, ("fp32",)):
        time = results[operation_key(*each)].seconds
        work.append((float(each[0].point(1.0).macs), float(_VALUE * moved_elements(each[0]))))
        seconds.append(time)
    for stream in sizes.streams:
        for size in sizes.stream_bytes:
            measured = results[stream_key(stream, size)]
            if stream.kind in _OF_STEPS and measured.bytes >= _LARGE_STREAM:
                work.append((0.0, float(measured.bytes)))
                seconds.append(measured.seconds)
    fit = fitted(work, seconds) if work else None
    if fit is None or not all(fit.coefficients):
        return None
    of_macs, of_bytes = fit.coefficients
    return Rates(macs_per_second=1 / of_macs, bytes_per_second=1 / of_bytes, worst_residual=fit.worst_residual)
