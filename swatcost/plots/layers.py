"""An estimate layer by layer: what it costs, what sparsity saves, and where the remaining work is."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from swatcost.common.colours import BLACK, BLUE, ORANGE, PURPLE, VERMILION, YELLOW
from swatcost.plots.canvas import GREY, PALE, finish, halo, panels, short
from swatcost.plots.layer_axis import HATCHED, bar_width, cut_off, name_layers, points_per_layer
from swatcost.plots.sizes import Size, size_named
from swatcost.report.charts import layer_costs
from swatcost.report.estimate import asked
from swatcost.report.numbers import axis_unit, percent, scaled
from swatcost.report.samples import sample_word

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from swatcost.estimate import Estimate
    from swatcost.plots.canvas import Entry
    from swatcost.report.charts import Share, Work

# Colour, colour of the hatch, and hatch: they differ in print without colour too, as do those of narrow bars, on which
# horizontal lines can still be seen.
_PASSES = {
    "forward": (BLUE, "white", "", ""),
    "grad_input": (ORANGE, "black", "////", "----"),
    "grad_weight": (YELLOW, "black", "....", "...."),
    "recompute": (PURPLE, "black", "xxxx", "-------"),
}
_NAMED = {"screen": 20, "column": 14}  # layers that `remaining_by_layer` shows by name
_LONGEST = 25  # letters of a name
_SHARES = (50, 90)  # of what is left [%], whose layers are counted


def counting(estimate: Estimate) -> str:
    """What the plotted MACs are of."""
    return f"{asked(estimate)}. MACs under the {estimate.convention.name} convention."


def cost_by_layer(estimate: Estimate, *, size: str = "screen") -> Figure:
    """MACs per sample of each layer in a training step, its passes stacked; behind them, pale, the dense step's."""
    at = size_named(size)
    (axes,) = panels(at)
    shown, sparse = layer_costs(estimate), estimate.plan.asks_for_sparsity
    names, training = shown.names, shown.training.network
    layers = range(len(names))
    prefix, unit = axis_unit(max(each.dense for each in shown.training.layers))
    dense = [each.dense / unit for each in shown.training.layers]
    width, hatched = bar_width(len(layers), at), points_per_layer(len(layers), at) >= HATCHED
    legend: list[Entry] = []
    if sparse:
        behind = axes.bar(
            layers, dense, width, color=PALE, edgecolor=GREY, linewidth=0.5 if width < 1 else 0, label="dense"
        )
        legend.append((behind.patches[0], f"dense, all passes: {scaled(training.dense, 'MAC')}"))
    below = [0.0] * len(layers)
    for each in shown.passes:
        colour, stroke, slanted, narrow = _PASSES[each.name]
        heights = [cost.sparse / unit for cost in each.layers]
        bars = axes.bar(
            layers, heights, width, bottom=below, color=colour, edgecolor=stroke, linewidth=0,
            hatch=slanted if hatched else narrow, label=each.name,
        )  # fmt: skip
        legend.append((bars.patches[0], f"{each.name}: {scaled(each.network.sparse, 'MAC')}"))
        below = [low + height for low, height in zip(below, heights, strict=True)]
    name_layers(axes, names, at)
    per = f"per {sample_word(estimate)}"
    axes.set_ylabel(f"training MACs [{prefix}MAC {per}]")
    cut_off(axes, list(map(max, dense, below)), names, f"{prefix}MAC" + " dense" * sparse, at)
    amount = f"{scaled(training.sparse, 'MAC')} {per}, " * sparse + f"{scaled(training.dense, 'MAC')} "
    amount += "dense" if sparse else per
    of = f"{len(layers)} layers: " if len(layers) > 1 else ""
    return finish(
        axes,
        at,
        title=f"{estimate.network.name}: training MACs by layer",
        caption=f"{counting(estimate)} {of}{amount}.",
        legend=legend,
    )


def reduction_by_layer(estimate: Estimate, *, size: str = "screen") -> Figure:
    """The reduction of each layer's MACs [%]: of its training, and of each pass; a line for the network.

    Where nothing is sparse, training alone, which says so.
    """
    at = size_named(size)
    shown = layer_costs(estimate)
    saves = any(any(each.reductions) for each in (shown.training, *shown.passes))
    parts = (shown.training, *shown.passes) if saves else (shown.training,)
    every = panels(at, down=len(parts), height=(0.2 + 0.35 * len(parts)) * at.height, sharex=True, sharey=True)
    marks = [
        _saved(axes, work, _PASSES[work.name][0] if work is not shown.training else "#999999", at)
        for axes, work in zip(every, parts, strict=True)
    ]
    legend: list[Entry] = [(marks[0][0], "whole network")]
    dense = any(cost.dense and not cost.reduction for work in parts for cost in work.layers)
    legend += [(marks[0][1], "dense: no reduction")] * dense
    if not saves:
        every[0].annotate(
            "dense: no layer has a reduction", (0.5, 0.5), xycoords="axes fraction", ha="center", va="center",
            fontsize=at.text,
        )  # fmt: skip
    lowest = min(0.0, *(reduction for work in parts for reduction in work.reductions))
    every[0].set_ylim(1.05 * lowest, 105)
    every[0].set_yticks([0, 50, 100])
    for axes in every[:-1]:
        axes.tick_params(axis="x", which="both", bottom=False, labelbottom=False)
    name_layers(every[-1], shown.names, at)
    figure = finish(
        every[0],
        at,
        title=f"{estimate.network.name}: reduction of training MACs by layer",
        caption=counting(estimate),
        legend=legend,
    )
    figure.supylabel("reduction of MACs [%]", fontsize=at.text)
    return figure


def _saved(axes: Axes, work: Work, colour: str, at: Size) -> tuple[Line2D, Line2D]:
    """A panel with one bar per layer, and the network's own reduction as a line and in the heading.

    A layer that this pass leaves dense has a cross; one without such work has neither bar nor cross. Returns the line
    and the crosses.
    """
    saved = {place: work.reductions[place] for place, cost in enumerate(work.layers) if cost.dense}
    still_dense = [place for place, value in saved.items() if value == 0]
    layers = len(work.layers)
    axes.bar(list(saved), list(saved.values()), bar_width(layers, at), color=colour, linewidth=0, label=work.name)
    (crosses,) = axes.plot(
        still_dense, [0.0] * len(still_dense), linestyle="", marker="x", color=BLACK, markeredgewidth=0.5 * at.line,
        markersize=min(at.marker, points_per_layer(layers, at)), clip_on=False, zorder=3, label=f"{work.name}: dense",
    )  # fmt: skip
    crosses.set_in_layout(False)  # of no cross, unclipped, the layout would make room for infinity
    whole = work.network.reduction
    line = axes.axhline(
        100 * whole, color=BLACK, linewidth=0.8 * at.line, linestyle=(0, (5, 2)), path_effects=halo(at), label="network"
    )
    axes.set_title(f"{work.name}: {percent(whole)} over all layers", fontsize=at.small, loc="left", pad=2)
    return line, crosses


def remaining_by_layer(estimate: Estimate, *, size: str = "screen") -> Figure:
    """Where the remaining MACs are: layers by their share, largest first, and how the shares add up."""
    at = size_named(size)
    ranked, adding = (
        panels(at, down=2, height=1.9 * at.height, height_ratios=(1.9, 1))
        if size == "column"
        else panels(at, across=2, height=1.1 * at.height, width_ratios=(1.25, 1))
    )
    shown, sparse, most = layer_costs(estimate), estimate.plan.asks_for_sparsity, _NAMED[size]
    every, names, training = shown.ranked, shown.names, shown.training.network
    legend = _ranked(ranked, every[:most], [short(names[each.layer], _LONGEST) for each in every[:most]], at, sparse)
    reached = _adding(adding, [each.left for each in every], at)
    of = f" of {len(every)} layer{'s' * (len(every) > 1)}"
    held = ", ".join(f"{share} % in {count}" for share, count in reached.items()) + of
    rest = [each.left for each in every[most:]]
    others = f" The {len(rest)} layer{'s' * (len(rest) > 1)} not listed: {sum(rest):.1f} %." if rest else ""
    left = f"{scaled(training.sparse, 'MAC')} of {scaled(training.dense, 'MAC')} per sample remain: "
    return finish(
        ranked,
        at,
        title=f"{estimate.network.name}: where the {'remaining' if sparse else 'training'} MACs are",
        caption=f"{counting(estimate)} {left * sparse}{held}.{others}",
        legend=legend,
    )


def _ranked(axes: Axes, shown: list[Share], names: list[str], at: Size, sparse: bool) -> list[Entry]:
    """The largest shares as bars with names."""
    rows = range(len(shown))
    bars = axes.barh(rows, [each.left for each in shown], 0.75, color=BLUE, label="left")
    legend: list[Entry] = [(bars.patches[0], "share of remaining MACs" if sparse else "share of training MACs")]
    if sparse:
        (dense,) = axes.plot(
            [each.dense for each in shown], rows, linestyle="", marker="D", markersize=at.marker,
            markerfacecolor="white", markeredgecolor=VERMILION, markeredgewidth=0.6 * at.line, label="dense",
        )  # fmt: skip
        legend.append((dense, "share of dense training MACs"))
    axes.set_yticks(rows, names, fontsize=at.small)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=PALE, linewidth=0.6)
    axes.set_ylim(max(len(shown) - 0.4, 1.0), -0.6 if len(shown) > 1 else -1.0)
    axes.set_xlabel("share [%]")
    return legend


def _adding(axes: Axes, shares: list[float], at: Size) -> dict[int, int]:
    """Draws how the shares add up, largest first; returns how many layers it takes to reach each of _SHARES."""
    from matplotlib.ticker import MaxNLocator

    sums = [0.0, *accumulate(shares)]
    axes.plot(range(len(sums)), sums, color=BLUE, linewidth=at.line, label="together")
    reached = {share: next(count for count, each in enumerate(sums) if each >= share - 1e-10) for share in _SHARES}
    for share, count in reached.items():
        axes.plot([0, count, count], [share, share, 0], color=GREY, linewidth=0.8, linestyle=":")
        axes.plot(count, sums[count], marker="o", markersize=at.marker, color=BLUE, clip_on=False)
    axes.set(xlim=(0, len(shares)), ylim=(0, 103), xlabel="layers, largest first", ylabel="cumulative share [%]")
    axes.set_yticks([0, *_SHARES, 100])
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    return reached
