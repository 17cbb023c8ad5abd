"""The layout of plots; imports matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.layout_engine import ConstrainedLayoutEngine

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DIGITS = 9  # of a position, as a fraction of the figure: far below a dot


class RoundedLayout(ConstrainedLayoutEngine):
    """Constrained layout, with positions rounded so that the same numbers give the same file.

    The last bits that its solver gives depend on addresses in memory, and names inside an SVG on all bits.
    """

    def execute(self, fig: Figure) -> None:
        """Places the axes of the figure."""
        super().execute(fig)
        for axes in fig.axes:
            left, bottom, width, height = (round(each, _DIGITS) for each in axes.get_position(original=True).bounds)
            axes.set_position((left, bottom, width, height), which="original")
            axes.set_in_layout(True)  # which setting a position ends
