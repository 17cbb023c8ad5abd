"""A profile's tables of operations, streams and kernels, from what was measured."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import geometric_mean
from typing import Any

from swatcost.devices.kernels import Kernel, KernelPoint
from swatcost.devices.operations import OperationPoint, OperationTimes, ProductPrecision, StreamPoint, StreamTimes
from swatcost.reference.measurements import (
    Sizes,
    kernel_key,
    measured_kernels_of,
    measured_operations_of,
    operation_key,
    stream_key,
)


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
    found: dict[Any, list[Any]] = {}
    for row in rows:
        found.setdefault(by(row), []).append(row)
    return list(found.items())


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
        own[0]._replace(seconds=_rounded(geometric_mean([each.seconds for each in own])))
        for _, own in _grouped(points, lambda point: point[:-1])
    )


def _rounded(value: float) -> float:
    """Five digits, more than a time is measured to."""
    return float(f"{value:.5g}")


def _streams(sizes: Sizes, results: Mapping[str, Any]) -> tuple[StreamTimes, ...]:
    found = []
    for (kind, in_pass), streams in _grouped(sizes.streams, lambda each: (each.kind, each.in_pass)):
        by_bytes: dict[int, float] = {}
        for size in sizes.stream_bytes:
            own = [results[stream_key(each, size)] for each in streams]
            bytes = round(geometric_mean([each.bytes for each in own]))
            by_bytes.setdefault(bytes, _rounded(geometric_mean([each.seconds for each in own])))
        points = tuple(StreamPoint(*each) for each in by_bytes.items())
        found.append(StreamTimes(kind=kind, in_pass=in_pass, points=points))
    return tuple(found)


def _table_of(row: Any) -> tuple[Any, ...]:
    """What the measurements of one table have in common: the kernel and the kind of layer."""
    kernel, shape, *_ = row
    at = shape.point(1.0)
    return (kernel, shape.kind, *((at.window, at.stride) if shape.kind == "conv" else (None, None)))


def _kernels(sizes: Sizes, on: str, source: str, results: Mapping[str, Any]) -> tuple[Kernel, ...]:
    found = []
    for (kernel, kind, window, stride), rows in _grouped(list(measured_kernels_of(sizes, on)), _table_of):
        points = []
        for _, shape, in_pass, density in rows:
            result, at = results[kernel_key(kernel, shape, in_pass, density)], shape.point(1.0)
            ratio = _rounded(result.seconds / result.dense_seconds)
            images = shape.images if kernel.by_images and kind == "conv" else None
            points.append(KernelPoint(in_pass, at.rows, at.inner * at.window, at.outer, density, ratio, images))
        found.append(
            Kernel(
                name=kernel.name, title=kernel.title, pattern=kernel.pattern, operand=kernel.operand,
                precision=kernel.precision, kinds=(kind,), measures=kernel.measures, source=source,
                takes_masked=kernel.takes_masked,
                points=tuple(points), window=window, stride=stride,
            )
        )  # fmt: skip
    return tuple(found)
