"""The sizes of plots, by where they are looked at."""

from dataclasses import dataclass

from swatcost.common.errors import SwatcostError

POINTS = 72
"""Points in an inch."""


@dataclass(frozen=True)
class Size:
    """A plot for one medium: width and height of the axes with their labels [in], type sizes [pt], dots per inch."""

    width: float
    height: float
    title: float
    text: float
    small: float
    line: float
    marker: float
    dpi: int

    @property
    def across(self) -> float:
        """Points from the left end of an axis to its right one, about: the rest is for its labels."""
        return POINTS * self.width - 6.5 * self.text


SIZES = {
    "screen": Size(width=8.0, height=3.9, title=12, text=10, small=9, line=1.8, marker=6, dpi=150),
    "column": Size(width=3.5, height=2.4, title=8.5, text=7.5, small=7, line=1.1, marker=3.5, dpi=200),
}


def size_named(size: str) -> Size:
    """The size of that name, or SwatcostError."""
    if size not in SIZES:
        raise SwatcostError(f"unknown size {size!r:.40} of a plot: choose from {', '.join(SIZES)}")
    return SIZES[size]
