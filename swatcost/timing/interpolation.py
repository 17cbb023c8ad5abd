"""Interpolation between measurements at scattered points, such as shapes, in logarithms."""

from dataclasses import dataclass
from typing import NamedTuple

_NEAREST = 6
_SOFTENING = 0.02
"""Added to squared distances, so that the value does not have a cusp at every point."""


class Interpolated(NamedTuple):
    """A value, and whether its point is within the range of the measurements in every coordinate."""

    value: float
    inside: bool


@dataclass(frozen=True)
class Scattered:
    """Positive values at points with positive coordinates.

    Between points, the logarithm of the value is the mean of those of the nearest ones, weighted by the inverse square
    of their distance (Shepard, 1968). Distances are between logarithms, each times the `weights` of its coordinate.
    """

    points: tuple[tuple[float, ...], ...]
    values: tuple[float, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        scaled = tuple(self._scaled(each) for each in self.points)
        object.__setattr__(self, "_scaled_points", scaled)
