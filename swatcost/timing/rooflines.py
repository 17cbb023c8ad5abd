"""The time of an operation on any shape, from measured ones: a roofline whose terms add up.

    t = a · MACs + b · bytes of activations + c · bytes of weights + d · bytes of a large result + e

a is the time of a multiply-accumulate at the kind's own efficiency, e of a call. b and c are of bytes that are read or
written: the layer before has just written its activations, whereas weights have left the caches, and libraries also
copy them into a layout of their own. A result of more than 32 MiB is allocated anew by the C library in every call, and
its pages are first touched then: on a GPU, whose memory torch caches, d comes out as 0. a to e ≥ 0 are fitted to the
measured times, with relative errors.

Williams, Waterman and Patterson, "Roofline: an insightful visual performance model", CACM 2009, takes the longest term;
measured times of real kernels are nearer to the sum.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from swatcost.devices.fits import Fit, fitted
from swatcost.devices.operations import OperationTimes
from swatcost.network.passes import Pass
from swatcost.timing.shapes import Shape

LARGE_RESULT = 32 * 2**20
"""The size [bytes] above which glibc's malloc never reuses memory: M_MMAP_THRESHOLD_MAX on 64-bit machines."""


@dataclass(frozen=True)
class Roofline:
    """The times of one kind of product in one pass, and the shapes that they were fitted to."""

    in_pass: Pass
    shapes: tuple[Shape, ...]
    seconds: tuple[float, ...]
    element_bytes: int

    @cached_property
    def fit(self) -> Fit:
        """The coefficients a to e [s per MAC, byte, byte, byte and call]."""
        return fitted([self._terms(each) for each in self.shapes], self.seconds)

    def at(self, shape: Shape) -> float:
        """The time [s] of the pass for this shape."""
        return self.fit.at(self._terms(shape))

    def covers(self, shape: Shape) -> bool:
        """Whether the shape is within the measured ones in work and in bytes."""
        macs, sizes = [each.macs for each in self.shapes], [each.elements for each in self.shapes]
        return min(macs) <= shape.macs <= max(macs) and min(sizes) <= shape.elements <= max(sizes)

    def left_out(self) -> list[float]:
        """What each measured time is, over the one that is predicted from the others, minus 1 [-]."""
        found = []
        for place, (shape, seconds) in enumerate(zip(self.shapes, self.seconds, strict=True)):
            others = [each for each in range(len(self.shapes)) if each != place]
            rest = Roofline(
                self.in_pass,
                tuple(self.shapes[each] for each in others),
                tuple(self.seconds[each] for each in others),
                self.element_bytes,
            )
            found.append(seconds / rest.at(shape) - 1)
        return found

    def _terms(self, shape: Shape) -> tuple[float, float, float, float, float]:
        written = shape.written(self.in_pass) * self.element_bytes
        weights = shape.weight_elements * self.element_bytes
        activations = shape.elements * self.element_bytes - weights
        return shape.macs, activations, weights, written * (written > LARGE_RESULT), 1.0


@dataclass(frozen=True)
class Rooflines:
    """The rooflines of a machine for one precision, one for each kind of product and pass."""

    by_kind: Mapping[tuple[str, Pass], Roofline]

    @staticmethod
    def of(times: Sequence[OperationTimes], precision: str, element_bytes: int) -> "Rooflines":
        """The rooflines of the measured times in this precision. 1 × 1 convolutions have some of their own."""
        found: dict[tuple[str, Pass], list[tuple[Shape, float]]] = {}
        for each in times:
            if each.precision == precision:
                for point in each.points:
                    shape = Shape.of_point(each.kind, point)
                    found.setdefault((_kernels_of(shape), each.in_pass), []).append((shape, point.seconds))
        return Rooflines(
            {
                (kind, in_pass): Roofline(
                    in_pass, tuple(each for each, _ in measured), tuple(each for _, each in measured), element_bytes
                )
                for (kind, in_pass), measured in found.items()
            }
        )

    def of_pass(self, shape: Shape, in_pass: Pass) -> Roofline | None:
        """The roofline for a shape; None if nothing of its kind was measured."""
        for kind in (_kernels_of(shape), *_STAND_INS.get(shape.kind, ())):
            if (kind, in_pass) in self.by_kind:
                return self.by_kind[kind, in_pass]
        return None


_STAND_INS = {
    "conv": ("conv", "linear"), "depthwise": ("depthwise", "conv"), "linear": ("product",), "product": ("linear",),
}  # fmt: skip


def _kernels_of(shape: Shape) -> str:
    """The kernels that run a shape: a 1 × 1 convolution is a product of matrices. Libraries have special kernels for
    depthwise convolutions of 3 × 3; measured grad_weight of 7 × 7 took five to fifty times as long per MAC.
    """
    if shape.kind == "conv" and shape.window == 1:
        return "conv 1 × 1"
    return "depthwise, large window" if shape.kind == "depthwise" and shape.window > _SMALL else shape.kind


_SMALL = 9  # R · S
