"""An estimate layer by layer: what it costs, what sparsity saves, and where what is left is."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from swatcost.common.colours import BLACK, BLUE, ORANGE, PURPLE, VERMILION, YELLOW
from swatcost.estimate import Estimate
from swatcost.plots.canvas import GREY, PALE, Size, finish, halo, panels, short, size_named
from swatcost.plots.layer_axis import name_layers, points_per_layer
from swatcost.report.charts import Share, Work, layer_costs
from swatcost.report.estimate import asked
from swatcost.report.numbers import axis_unit, percent, scaled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from swatcost.plots.canvas import Entry

# From dark to light, so that they differ in grey too; hatches where bars are wide enough to show them.
_PASSES = {
    "forward": (BLUE, "white", ""),
    "grad_input": (ORANGE, "black", "////"),
    "grad_weight": (YELLOW, "black", "...."),
    "recompute": (PURPLE, "black", "xxxx"),
}
_HATCHED, _APART = 5.0, 3.0  # points a layer has to have for hatches, and for gaps between bars
_DWARFS = 4.0  # times as tall as the next: a bar that is cut off
_NAMED = {"screen": 20, "column": 14}  # layers that `remaining_by_layer` shows by name
_LONGEST = 25  # letters of a name
_SHARES = (50, 90)  # of what is left [%], whose layers are counted


def counting(estimate: Estimate) -> str:
    """What the plotted numbers are of, in a sentence."""
    return f"{asked(estimate)}. MACs by convention {estimate.convention.name}, on any device."


def _width(layers: int, size: Size) -> float:
    return 0.85 if points_per_layer(layers, size) >= _APART else 1.0


def cost_by_layer(estimate: Estimate, *, size: str = "screen") -> Figure:
    """MACs per sample of each layer in a training step, its passes stacked; behind them, pale, the dense step's."""
    at = size_named(size)
    (axes,) = panels(at)
    shown, sparse = layer_costs(estimate), estimate.plan.asks_for_sparsity
    names, training = shown.names, shown.training.network
    layers = range(len(names))
    prefix, unit = axis_unit(max(each.dense for each in shown.training.layers))
    dense = [each.dense / unit for each in shown.training.layers]
    width, hatched = _width(len(layers), at), points_per_layer(len(layers), at) >= _HATCHED
    legend: list[Entry] = []
    if sparse:
        behind = axes.bar(
            layers, dense, width, color=PALE, edgecolor=GREY, linewidth=0.5 if width < 1 else 0, label="dense"
        )
        legend.append((behind.patches[0], f"dense, all passes: {scaled(training.dense, 'MAC')}"))
    below = [0.0] * len(layers)
    for each in shown.passes:
        colour, stroke, hatch = _PASSES[each.name]
        heights = [cost.sparse / unit for cost in each.layers]
        bars = axes.bar(
            layers, heights, width, bottom=below, color=colour, edgecolor=stroke, linewidth=0,
            hatch=hatch if hatched else None, label=each.name,
        )  # fmt: skip
        legend.append((bars.patches[0], f"{each.name}: {scaled(each.network.sparse, 'MAC')}"))
        below = [low + height for low, height in zip(below, heights, strict=True)]
    name_layers(axes, names, at)
    axes.set_ylabel(f"training [{prefix}MAC per sample]")
    _cut(axes, list(map(max, dense, below)), names, f"{prefix}MAC", at)
    amount = f"{scaled(training.sparse, 'MAC')} of " * sparse + scaled(training.dense, "MAC")
    of = f"All {len(layers)} layers: " if len(layers) > 1 else ""
    return finish(
        axes,
        at,
        title=f"{estimate.network.name}: cost of training by layer",
        caption=f"{counting(estimate)} {of}{amount} per sample.",
        legend=legend,
    )


def _cut(axes: Axes, heights: list[float], names: list[str], unit: str, at: Size) -> None:
    """Ends the axis y above the bars; below a single one that would dwarf all others, and writes that one's height."""
    ranked = sorted(range(len(heights)), key=lambda place: -heights[place])
    most, next_most = heights[ranked[0]], heights[ranked[min(1, len(ranked) - 1)]]
    if most <= _DWARFS * next_most or not next_most:
        axes.set_ylim(0, 1.05 * most)
        return
    place, top = ranked[0], 1.25 * next_most
    axes.set_ylim(0, top)
    right = place < len(heights) / 2
    axes.annotate(
        f"{names[place]}: {most:.1f} {unit}, cut off", (place + (0.6 if right else -0.6), top), xytext=(0, 0),
        textcoords="offset points", ha="left" if right else "right", va="top", fontsize=at.small,
    )  # fmt: skip


def reduction_by_layer(estimate: Estimate, *, size: str = "screen") -> Figure:
    """What sparsity saves of each layer [% of its MACs]: of its training, and of each pass; lines for the network."""
    at = size_named(size)
    shown = layer_costs(estimate)
    parts = (shown.training, *shown.passes)
    every = panels(at, down=len(parts), height=(0.2 + 0.35 * len(parts)) * at.height, sharex=True, sharey=True)
    for axes, work in zip(every, parts, strict=True):
        _saved(axes, work, _PASSES[work.name][0] if work is not shown.training else "#999999", at)
    lowest = min(0.0, *(reduction for work in parts for reduction in work.reductions))
    every[0].set_ylim(1.05 * lowest, 105)
    every[0].set_yticks([0, 50, 100])
    for axes in every[:-1]:
        axes.tick_params(axis="x", which="both", bottom=False, labelbottom=False)
    name_layers(every[-1], shown.names, at)
    figure = finish(
        every[0],
        at,
        title=f"{estimate.network.name}: what sparsity saves in each layer",
        caption=f"{counting(estimate)} Dashed: all layers. ×: dense; no bar and no ×: no such work.",
    )
    figure.supylabel("reduction of MACs [%]", fontsize=at.text)
    return figure


def _saved(axes: Axes, work: Work, colour: str, at: Size) -> None:
    """A panel with one bar per layer, and the network's own reduction as a line and in the heading."""
    saved = {place: work.reductions[place] for place, cost in enumerate(work.layers) if cost.dense}
    still_dense = [place for place, value in saved.items() if value == 0]
    layers = len(work.layers)
    axes.bar(list(saved), list(saved.values()), _width(layers, at), color=colour, linewidth=0, label=work.name)
    axes.plot(
        still_dense, [0.0] * len(still_dense), linestyle="", marker="x", color=BLACK, markeredgewidth=0.5 * at.line,
        markersize=min(at.marker, points_per_layer(layers, at)), clip_on=False, zorder=3, label=f"{work.name}: dense",
    )  # fmt: skip
    whole = work.network.reduction
    axes.axhline(
        100 * whole, color=BLACK, linewidth=0.8 * at.line, linestyle=(0, (5, 2)), path_effects=halo(at), label="network"
    )
    axes.set_title(f"{work.name}: {percent(whole)} saved over all layers", fontsize=at.small, loc="left", pad=2)


def remaining_by_layer(estimate: Estimate, *, size: str = "screen") -> Figure:
    """Where the MACs are that sparsity leaves: layers by their share, the largest first, and how the shares add up."""
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
    held = ", ".join(f"{share} % in {count}" for share, count in reached.items())
    rest = [each.left for each in every[most:]]
    others = f" The {len(rest)} without a name hold {sum(rest):.1f} %." if rest else ""
    left = f"{scaled(training.sparse, 'MAC')} of {scaled(training.dense, 'MAC')} per sample are left; "
    return finish(
        ranked,
        at,
        title=f"{estimate.network.name}: where the {'remaining MACs' if sparse else 'MACs of training'} are",
        caption=f"{counting(estimate)} {left * sparse}{held} of {len(every)} layer{'s' * (len(every) > 1)}.{others}",
        legend=legend,
    )


def _ranked(axes: Axes, shown: list[Share], names: list[str], at: Size, sparse: bool) -> list[Entry]:
    """The largest shares as bars with names."""
    rows = range(len(shown))
    bars = axes.barh(rows, [each.left for each in shown], 0.75, color=BLUE, label="left")
    legend: list[Entry] = [(bars.patches[0], "share of what is left" if sparse else "share of training")]
    if sparse:
        (dense,) = axes.plot(
            [each.dense for each in shown], rows, linestyle="", marker="D", markersize=at.marker,
            markerfacecolor="white", markeredgecolor=VERMILION, markeredgewidth=0.6 * at.line, label="dense",
        )  # fmt: skip
        legend.append((dense, "share of dense training"))
    axes.set_yticks(rows, names, fontsize=at.small)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=PALE, linewidth=0.6)
    axes.set_ylim(max(len(shown) - 0.4, 1.0), -0.6 if len(shown) > 1 else -1.0)
    axes.set_xlabel("share of MACs [%]")
    return legend


def _adding(axes: Axes, shares: list[float], at: Size) -> dict[int, int]:
    """Draws how the shares add up, the largest first; returns how many layers it takes to reach each of _SHARES."""
    sums = [0.0, *accumulate(shares)]
    axes.plot(range(len(sums)), sums, color=BLUE, linewidth=at.line, label="together")
    reached = {share: next(count for count, each in enumerate(sums) if each >= share - 1e-10) for share in _SHARES}
    for share, count in reached.items():
        axes.plot([0, count, count], [share, share, 0], color=GREY, linewidth=0.8, linestyle=":")
        axes.plot(count, sums[count], marker="o", markersize=at.marker, color=BLUE, clip_on=False)
    axes.set(xlim=(0, len(shares)), ylim=(0, 103), xlabel="layers, the largest first", ylabel="together [%]")
    axes.set_yticks([0, *_SHARES, 100])
    if len(shares) < 6:
        axes.set_xticks(range(len(sums)))
    return reached
