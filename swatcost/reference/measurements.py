"""The list of what `swatcost calibrate` measures, each as a key, an expected time, and a function."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from swatcost.devices import Rates, TopkTimes
from swatcost.devices.operations import ProductPrecision
from swatcost.network.passes import PASSES, Pass
from swatcost.reference import measured_kernels, measured_networks, measured_operations, measured_streams
from swatcost.reference.calibration_record import Conditions
from swatcost.reference.chosen_kernels import has_numba
from swatcost.reference.instructions import Instructions, partition_instructions
from swatcost.reference.measured_kernels import (
    BSR_WEIGHTS,
    CSR_ACTIVATIONS,
    CSR_WEIGHTS,
    KernelTiming,
    SparseKernel,
)
from swatcost.reference.measured_operations import Shape
from swatcost.reference.measured_peaks import COPIED, peaks
from swatcost.reference.measured_selections import (
    SELECTION_SIZES,
    SIZES,
    BySize,
    algorithms,
    masking_seconds,
    selection_seconds,
)
from swatcost.reference.measured_streams import STREAM_BYTES, STREAMS, Stream, StreamTiming
from swatcost.reference.operation_shapes import SHAPES
from swatcost.reference.semi_structured import semi_structured
from swatcost.reference.this_machine import machine
from swatcost.reference.timer import Timing

_ASSUMED_MACS_PER_SECOND = 3e10  # of a small machine, all kinds together; only the time left depends on it
_SHORT, _PAIRED, _MANY, _STEPS = 0.3, 0.5, 1.5, 4.0  # expected seconds, likewise


@dataclass(frozen=True)
class Sizes:
    """What is measured, as data: all of it by default."""

    shapes: Sequence[Shape] = SHAPES
    streams: Sequence[Stream] = STREAMS
    stream_bytes: Sequence[int] = STREAM_BYTES
    kernels: Sequence[SparseKernel] | None = None
    selections: Sequence[int] = SELECTION_SIZES
    copied: int = COPIED

    def kernels_on(self, on: str) -> Sequence[SparseKernel]:
        """The kernels that were given, or those that there are for the device: the program's own are for CPUs."""
        if self.kernels is not None:
            return self.kernels
        others = (BSR_WEIGHTS, *_own_kernels()) if on == "cpu" else semi_structured()
        return CSR_WEIGHTS, CSR_ACTIVATIONS, *others


def _own_kernels() -> Sequence[SparseKernel]:
    """The program's own kernels, if numba is installed."""
    if not has_numba():
        return ()
    from swatcost.reference.measured_own_kernels import OWN_ACTIVATIONS, OWN_WEIGHTS

    return OWN_WEIGHTS, OWN_ACTIVATIONS


@dataclass(frozen=True)
class Measurement:
    """A measurement: its `key` is unique and says what it is; `of` is the type of its result."""

    key: str
    expected_seconds: float
    run: Callable[[], Any]
    of: Any


def conditions(on: str) -> Conditions:
    """What this machine's measurements are made under."""
    return Conditions(
        machine=machine(on), torch=torch.__version__.split("+")[0], threads=torch.get_num_threads(), on=on
    )


def operation_key(shape: Shape, in_pass: Pass, precision: ProductPrecision) -> str:
    """The key of a dense operation."""
    return f"{shape.kind} {shape.name}; {precision} {in_pass}"


def stream_key(stream: Stream, bytes: int) -> str:
    """The key of a stream of so many bytes."""
    return f"stream {stream.name}; {bytes} B"


def kernel_key(kernel: SparseKernel, shape: Shape, in_pass: Pass, density: float) -> str:
    """The key of a sparse kernel."""
    return f"{kernel.name} {shape.kind} {shape.name}; {kernel.precision} {in_pass} at {density:g}"


def step_key(network: str, batch_size: int, again: bool = False) -> str:
    """The key of a network's dense step, which is measured twice."""
    return f"dense step of {network}, batch {batch_size}" + (" again" if again else "")


def steps_key(network: str, batch_size: int) -> str:
    """The key of a network's steps that predictions are compared with."""
    return f"steps of {network}, batch {batch_size}"


def topk_key(network: str, batch_size: int) -> str:
    """The key of a network's Top-K."""
    return f"Top-K of {network}, batch {batch_size}"


def measured_operations_of(sizes: Sizes, precisions: Sequence[ProductPrecision]) -> Iterator[Any]:
    """The shapes, passes and precisions of dense operations."""
    return ((shape, in_pass, precision) for precision in precisions for shape in sizes.shapes for in_pass in PASSES)


def measured_kernels_of(sizes: Sizes, on: str) -> Iterator[Any]:
    """The kernels, with their shapes, passes and densities."""
    return (
        (kernel, shape, in_pass, density)
        for kernel in sizes.kernels_on(on)
        for shape in kernel.shapes
        if kernel.runs(shape)
        for in_pass in kernel.passes
        for density in kernel.densities
    )


def measurements(
    *,
    sizes: Sizes,
    precisions: Sequence[ProductPrecision],
    networks: Sequence[str],
    unseen: Sequence[str],
    topk_network: str,
    batch_size: int,
    on: str,
    count_instructions: bool,
) -> list[Measurement]:
    """Everything that is measured, in order."""
    found: list[Measurement] = []

    def add(key: str, expected_seconds: float, of: Any, measure: Callable[..., Any], *arguments: Any) -> None:
        found.append(Measurement(key, expected_seconds, partial(measure, *arguments, on), of))

    for again in (False, True):
        for each in networks:
            key = step_key(each, batch_size, again)
            add(key, _STEPS, measured_networks.DenseStepTime, measured_networks.dense_step, each, batch_size)
    add("products and copies", _MANY, Rates, peaks, sizes.copied)
    for operation in measured_operations_of(sizes, precisions):
        expected = _SHORT + _expected(operation[0])
        add(operation_key(*operation), expected, Timing, measured_operations.measure, *operation)
    for stream in sizes.streams:
        for bytes in sizes.stream_bytes:
            add(stream_key(stream, bytes), _SHORT, StreamTiming, measured_streams.measure, stream, bytes)
    for kernel in measured_kernels_of(sizes, on):
        add(kernel_key(*kernel), _PAIRED + _expected(kernel[1]), KernelTiming, measured_kernels.measure, *kernel)
    for algorithm in algorithms(on):
        add(algorithm, _MANY, BySize, selection_seconds, algorithm, sizes.selections)
    add("masking", _MANY, BySize, masking_seconds, sizes.selections)
    key = topk_key(topk_network, batch_size)
    add(key, _STEPS, TopkTimes, measured_networks.topk_times, topk_network, batch_size)
    for network in (*networks, *unseen):
        key = steps_key(network, batch_size)
        add(key, 2 * _STEPS, measured_networks.StepTimes, measured_networks.steps, network, batch_size)
    if count_instructions:
        key = "instructions of numpy.partition"
        found.append(Measurement(key, _STEPS, _instructions, tuple[Instructions, ...]))
    return found


def _expected(shape: Shape) -> float:
    return shape.point(1.0).macs / _ASSUMED_MACS_PER_SECOND


def _instructions() -> tuple[Instructions, ...]:
    return (*partition_instructions(SIZES, simd=False), *partition_instructions(SIZES, simd=True))
