"""The time of a sparse kernel over the dense one on any shape and density, from measured ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log
from typing import Any, NamedTuple

from swatcost.common.elementwise import interpolated, raised, where
from swatcost.devices.kernels import Kernel, KernelPass, KernelPoint

_SOFTENING = 0.02
"""Added to squared distances between shapes, in logarithms, so that near ones share the weight: 15 % in one size."""


class Ratio(NamedTuple):
    """The time of a kernel over the dense one's, and whether the measurements include the shape and the density."""

    over_dense: Any
    covered: bool


@dataclass(frozen=True)
class KernelTimes:
    """The times of one kernel in one pass.

    Over density, the logarithm of the ratio is linear in that of the density between the measured ones. Below them it
    is constant, above them proportional to the density. Over shapes, it is the mean of the measured shapes', weighted
    by the inverse square of the squared distance between the logarithms of rows, inner and outer sizes, and of images
    if the points have them (Shepard, "A two-dimensional interpolation function for irregularly-spaced data", 1968).
    """

    points: tuple[KernelPoint, ...]

    @staticmethod
    def of(kernel: Kernel, in_pass: KernelPass) -> "KernelTimes | None":
        """The kernel's times in a pass; None if it was not measured there."""
        own = tuple(each for each in kernel.points if each.in_pass == in_pass)
        return KernelTimes(own) if own else None

    @cached_property
    def _curves(self) -> list[tuple[tuple[float, ...], list[float], list[float]]]:
        """The logarithms of each shape's sizes, its densities in rising order, and the logarithms of its ratios."""
        shapes: dict[tuple[int, ...], list[tuple[float, float]]] = {}
        for each in self.points:
            shapes.setdefault(each.sizes, []).append((each.density, log(each.time_over_dense)))
        return [
            (tuple(map(log, sizes)), [x for x, _ in sorted(curve)], [y for _, y in sorted(curve)])
            for sizes, curve in shapes.items()
        ]

    def at(self, sizes: Sequence[float], density: Any) -> Ratio:
        """The ratio for rows, inner and outer sizes, images, and a density: a number, or an array of them.

        Images may be left out where the points do not have them.
        """
        place = [log(each) for each in sizes[: len(self.points[0].sizes)]]
        weighed: Any = 0.0
        weights = 0.0
        for shape, densities, ratios in self._curves:
            squared = sum((one - other) ** 2 for one, other in zip(place, shape, strict=True))
            weight = 1 / (squared + _SOFTENING) ** 2
            weighed = weighed + weight * interpolated(density, densities, ratios)
            weights += weight
        densest = max(each.density for each in self.points)
        beyond = where(density > densest, density / densest, 1.0)
        return Ratio(raised(weighed / weights) * beyond, self._covers(place, density))

    def _covers(self, place: Sequence[float], density: Any) -> bool:
        sizes = list(zip(*(shape for shape, _, _ in self._curves), strict=True))
        if any(not min(of) - 1e-9 <= each <= max(of) + 1e-9 for of, each in zip(sizes, place, strict=True)):
            return False
        if hasattr(density, "shape"):
            return True  # said for single settings only
        measured = [each.density for each in self.points]
        return bool(min(measured) - 1e-9 <= density <= max(measured) + 1e-9)

    def left_out(self) -> list[float]:
        """The measured ratio over the one predicted from the other shapes, minus 1 [-], for each point.

        Empty if there is only one shape.
        """
        found = []
        for point in self.points:
            others = tuple(each for each in self.points if each.sizes != point.sizes)
            if others:
                predicted = KernelTimes(others).at(point.sizes, point.density).over_dense
                found.append(point.time_over_dense / predicted - 1)
        return found
