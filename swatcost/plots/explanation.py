"""Why two conventions give two numbers: a waterfall from one reduction to the other."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from swatcost.common.colours import BLACK, BLUE, VERMILION
from swatcost.plots.canvas import GREY, PALE, finish, panels
from swatcost.plots.sizes import size_named
from swatcost.report.estimate import asked
from swatcost.report.explanation import changing, points, reductions, step_title
from swatcost.report.numbers import percent, signed

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from swatcost.planning.explanation import Explanation

_ROW = {"screen": 0.42, "column": 0.45}  # height [in] of a step
_ENDS = 1.0  # height [in] of the axis and the two conventions
_LETTERS = {"screen": 38, "column": 22}  # of a line of a step's name
_AROUND = {"screen": 0.15, "column": 0.35}  # of the range, right of it: room for the numbers
_LEFT = 0.05  # of the range, left of it
_BAR = 0.6  # height of a bar, of a row


def reduction_by_switch(explanation: Explanation, *, size: str = "screen") -> Figure:
    """The training reduction [%] from one convention to the other, a bar for each switch that changes it.

    The axis covers the range of the steps only: it need not begin at zero.
    """
    at = size_named(size)
    start, end = explanation.start, explanation.end
    steps = [(before, step) for before, step in reductions(explanation) if step in changing(explanation)]
    (axes,) = panels(at, height=_ENDS + _ROW[size] * (len(steps) + 2))
    names = [start.convention.name]
    last = len(steps) + 1
    reached = [100 * start.training_reduction]
    legend: dict[str, Artist] = {}
    for row, (before, step) in enumerate(steps, 1):
        left, right = 100 * before, 100 * step.costs.training.reduction
        bars = axes.barh(
            row, right - left, _BAR, left=left, color=BLUE if right > left else VERMILION,
            hatch="" if right > left else "////", edgecolor="white", linewidth=0, label=step.switch,
        )  # fmt: skip
        legend.setdefault("more reduction" if right > left else "less reduction", bars.patches[0])
        changed = signed(points(before, step.costs.training.reduction))
        axes.annotate(
            changed, (max(left, right), row), xytext=(0.4 * at.small, 0), textcoords="offset points", va="center",
            fontsize=at.small,
        )  # fmt: skip
        _joined(axes, left, row - 1 + (row > 1) * _BAR / 2, row - _BAR / 2)
        lines = (f"{step_title(step)}:", f"{step.before} → {step.after}")
        names.append("\n".join(textwrap.fill(each, _LETTERS[size]) for each in lines))
        reached.append(right)
    _joined(axes, reached[-1], last - 1 + bool(steps) * _BAR / 2, last)
    for row, found in ((0, start), (last, end)):
        axes.plot(
            100 * found.training_reduction, row, marker="D", markersize=at.marker, color=BLACK, linestyle="",
            label=found.convention.name,
        )  # fmt: skip
        axes.annotate(
            percent(found.training_reduction), (100 * found.training_reduction, row), xytext=(0.9 * at.small, 0),
            textcoords="offset points", va="center", fontsize=at.small, fontweight="bold",
        )  # fmt: skip
    names.append(end.convention.name)
    lowest, highest = min(reached), max(reached)
    around = (highest - lowest) or 1.0
    axes.set_xlim(lowest - _LEFT * around, highest + _AROUND[size] * around)
    axes.set_yticks(range(len(names)), names, fontsize=at.small)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(last + 0.6, -0.6)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=PALE, linewidth=0.6)
    axes.set_xlabel("reduction of training FLOPs [%]")
    return finish(
        axes,
        at,
        title=f"{start.network.name}: from {start.convention.name} to {end.convention.name}, switch by switch",
        caption=f"{asked(start)}. Beside bars: percentage points. The axis need not begin at 0.",
        legend=[(bar, words) for words, bar in legend.items()],
    )


def _joined(axes: Axes, reached: float, top: float, bottom: float) -> None:
    """A line from one row to the next at what is reached so far."""
    axes.plot([reached, reached], [top, bottom], color=GREY, linewidth=0.8, label="reached", zorder=1)
