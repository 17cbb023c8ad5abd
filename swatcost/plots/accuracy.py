"""The accuracy that published methods lose against the training FLOPs that they save, as in the paper's Figure 6."""

from __future__ import annotations

from collections.abc import Iterable
from math import floor
from typing import TYPE_CHECKING, Any, NamedTuple

from swatcost.common.colours import BLACK
from swatcost.common.errors import SwatcostError
from swatcost.plots.canvas import COLOURS, GREY, MARKERS, finish, halo, panels
from swatcost.plots.sizes import Size, size_named

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from swatcost.plots.canvas import Entry
    from swatcost.published import Cell, Reproduction

_CHANGE, _REDUCTION = "accuracy_change", "training_reduction"
_MOST_NETWORKS = 4


class _Point(NamedTuple):
    """A row of a table: drop of accuracy [points], reduction of training FLOPs [%], printed and computed."""

    setting: str
    drop: float
    printed: float
    computed: float | None


def _rows(cells: Iterable[Cell]) -> list[tuple[Cell, Cell]]:
    """The change of accuracy and the reduction of each row of a table that has both."""
    rows: dict[tuple[str, str, str, str], dict[str, Cell]] = {}
    for cell in cells:
        rows.setdefault((cell.table, cell.network, cell.method, cell.setting), {})[cell.quantity] = cell
    return [(row[_CHANGE], row[_REDUCTION]) for row in rows.values() if {_CHANGE, _REDUCTION} <= row.keys()]


def check_accuracies(cells: Iterable[Cell]) -> None:
    """SwatcostError unless published numbers have rows with both an accuracy and a reduction, for few networks."""
    networks = {change.network for change, _ in _rows(cells)}
    if not 1 <= len(networks) <= _MOST_NETWORKS:
        raise SwatcostError(
            f"{len(networks) or 'no'} networks with accuracies beside training reductions: these are drawn for "
            f"1 to {_MOST_NETWORKS} networks, choose Table 2, 3, 4 or 5"
        )


def accuracy_by_reduction(reproductions: Iterable[Reproduction], *, size: str = "screen") -> Figure:
    """Drop in top-1 accuracy [points] against reduction in training FLOPs [%], one panel per network.

    reproductions is what `swatcost.published.reproduce` gives for a table; Figure 6 is Table 3's ResNet-50. Accuracies
    are quoted from the table. Filled marks are computed reductions, with the statistic that the table's notes name
    where one is needed; hollow ones are printed. Raises SwatcostError where no row has both numbers.
    """
    at = size_named(size)
    published = {each.cell: each for each in reproductions}
    check_accuracies(published)
    networks: dict[str, dict[str, list[_Point]]] = {}
    tables: dict[str, None] = {}
    for change, reduction in _rows(published):
        found = published[reduction]
        best = found.best
        point = _Point(change.setting, 0.0 - change.number, reduction.number, best)
        networks.setdefault(change.network, {}).setdefault(change.method, []).append(point)
        tables[change.table] = None
    methods = list(dict.fromkeys(method for rows in networks.values() for method in rows))
    looks: dict[str, dict[str, Any]] = {
        method: {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}
        for place, method in enumerate(methods)
    }
    stacked = size == "column" and len(networks) > 1
    every = panels(
        at, down=len(networks) if stacked else 1, across=1 if stacked else len(networks), sharex=True, sharey=True,
        height=(0.75 * len(networks) if stacked else 1) * at.height,
    )  # fmt: skip
    for axes, (network, rows) in zip(every, networks.items(), strict=True):
        for method, points in rows.items():
            _draw(axes, points, looks[method], at, method)
        axes.axhline(0, color=BLACK, linewidth=0.8, label="dense")
        axes.set_title(network, fontsize=at.text)
    points = [point for rows in networks.values() for points in rows.values() for point in points]
    saved = [each for point in points for each in (point.printed, point.computed) if each is not None]
    every[0].set_xlim(_tens_below(min(saved) - 5), min(100, _tens_below(max(saved) + 11)))
    every[0].invert_yaxis()  # shared: better is higher
    for axes in every[-1:] if stacked else every:
        axes.set_xlabel("reduction in training FLOPs [%]")
    axis_y = "drop in top-1 accuracy [points]"
    legend: list[Entry] = []
    for method, look in looks.items():
        legend += [(every[0].plot([], [], **look, markersize=at.marker, linewidth=at.line)[0], method)]
    hollow: dict[str, Any] = {"markerfacecolor": "none", "markeredgewidth": 0.5 * at.line}
    for mark, meaning in (({}, "computed"), (hollow, "printed")):
        plain: dict[str, Any] = {
            "color": GREY,
            "marker": "o",
            "linestyle": "",
            "markersize": (1.5 if mark else 1) * at.marker,
        }
        legend += [(every[0].plot([], [], **plain, **mark)[0], meaning)]
    figure = finish(
        every[0],
        at,
        title="Accuracy lost against training FLOPs saved",
        caption=f"Table{'s' if len(tables) > 1 else ''} {', '.join(tables)} of the SWAT paper; beside points the "
        "sparsity [%]. Reductions are computed with the settings of its rows; accuracies are as printed.",
        legend=legend,
    )
    if stacked:
        figure.supylabel(axis_y, fontsize=at.text)
    else:
        every[0].set_ylabel(axis_y)
    return figure


def _tens_below(percent: float) -> int:
    return 10 * floor(percent / 10)


def _draw(axes: Axes, points: list[_Point], look: dict[str, Any], at: Size, method: str) -> None:
    """A method's line through its computed points, and a thin one from each to its printed point."""
    computed = [(point.computed, point) for point in points if point.computed is not None]
    for reduction, point in computed:
        axes.plot([reduction, point.printed], [point.drop] * 2, color=look["color"], linewidth=0.5 * at.line,
                  linestyle=":", label=f"between {method}")  # fmt: skip
    axes.plot(
        [point.printed for point in points], [point.drop for point in points], **look, linestyle="",
        markersize=1.5 * at.marker, markerfacecolor="none", markeredgewidth=0.5 * at.line, label=f"printed {method}",
    )  # fmt: skip
    axes.plot(
        [reduction for reduction, _ in computed], [point.drop for _, point in computed], **look,
        markersize=at.marker, linewidth=at.line, label=f"computed {method}",
    )  # fmt: skip
    for point in points:
        place = point.printed if point.computed is None else min(point.computed, point.printed)
        axes.annotate(
            point.setting, (place, point.drop), xytext=(-1.2 * at.marker, 0), textcoords="offset points",
            ha="right", va="center", fontsize=0.9 * at.small, color=GREY,
            path_effects=halo(at), zorder=4,
        )  # fmt: skip
