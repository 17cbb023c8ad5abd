"""How well a profile predicts shapes that it was not fitted to: each is left out, and predicted from the others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from swatcost.devices import Device
from swatcost.network.passes import PASSES
from swatcost.timing.kernel_times import KernelTimes
from swatcost.timing.rooflines import Rooflines

_FEWEST = 3  # shapes, for the others to say something of the one that is left out
_ELEMENT_BYTES = {"fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2, "fp8": 1}  # of what a product reads


@dataclass(frozen=True)
class LeftOut:
    """How well the other shapes predict a measured one of a kind: median and largest |predicted / measured − 1| [-].

    `name` is a kind of product, or a sparse kernel, whose time over the dense one's is predicted.
    """

    name: str
    in_pass: str
    precision: str
    shapes: int
    median: float
    worst: float


def left_out(device: Device) -> tuple[LeftOut, ...]:
    """The errors of the device's operations and kernels, by kind, pass and precision."""
    return (*_of_operations(device), *_of_kernels(device))


def _of_operations(device: Device) -> Iterator[LeftOut]:
    for precision in dict.fromkeys(each.precision for each in device.operations):
        lines = Rooflines.of(device.operations, precision, _ELEMENT_BYTES[precision])
        for (kind, in_pass), line in lines.by_kind.items():
            if len(line.shapes) >= _FEWEST:
                yield _summed(kind, in_pass, precision, len(line.shapes), line.left_out())


def _of_kernels(device: Device) -> Iterator[LeftOut]:
    for kernel in device.kernels:
        for in_pass in PASSES:
            times = KernelTimes.of(kernel, in_pass)
            shapes = {each.sizes for each in times.points} if times else set()
            if times and len(shapes) >= _FEWEST:
                name = f"{kernel.name}, {' and '.join(kernel.kinds)}"
                yield _summed(name, in_pass, kernel.precision, len(shapes), times.left_out())


def _summed(name: str, in_pass: str, precision: str, shapes: int, residuals: Sequence[float]) -> LeftOut:
    """residuals are measured / predicted − 1."""
    errors = [abs(1 / (1 + each) - 1) for each in residuals]
    return LeftOut(name, in_pass, precision, shapes, median(errors), max(errors))
