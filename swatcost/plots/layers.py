"""An estimate layer by layer: what it costs, what sparsity saves, and where what is left is."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from swatcost.common.colours import BLACK, BLUE, ORANGE, PURPLE, VERMILION, YELLOW
from swatcost.plots.canvas import GREY, PALE, Size, finish, halo, label, panels, short, size_named
from swatcost.plots.ticks import layer_names, name_layers, points_a_layer
from swatcost.report.estimate import asked
from swatcost.report.numbers import axis_unit, percent, scaled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from swatcost.counting.costs import Cost
    from swatcost.estimate import Estimate
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
_SHARES = (0.5, 0.9)  # of what is left, whose layers it counts


def _met(estimate: Estimate) -> list[str]:
    """The passes that take any work."""
    return [name for name, cost in estimate.costs.by_part().items() if cost.dense]


def counting(estimate: Estimate) -> str:
    """What the plotted numbers are of, in a sentence."""
    return f"{asked(estimate)}. MACs by convention {estimate.convention.name}, on any device."


def _width(layers: int, size: Size) -> float:
    return 0.85 if points_a_layer(layers, size) >= _APART else 1.0


def cost_by_layer(estimate: Estimate, *, size: str = "screen") -> Figure:
    """MACs per sample of each layer in a training step, its passes stacked; behind them, pale, the dense step's."""
    at = size_named(size)
    (axes,) = panels(at)
    names, layers = layer_names(estimate), range(len(estimate.layers))
    dense = [each.costs.training.dense for each in estimate.layers]
    sparse = estimate.plan.asks_for_sparsity
    prefix, unit = axis_unit(max(dense))
    width, hatched = _width(len(layers), at), points_a_layer(len(layers), at) >= _HATCHED
    legend: list[Entry] = []
    if sparse:
        behind = axes.bar(
            layers, [each / unit for each in dense], width, color=PALE, edgecolor=GREY,
            linewidth=0.5 if width < 1 else 0, label="dense",
        )  # fmt: skip
        legend.append((behind.patches[0], f"dense, all passes: {scaled(estimate.costs.training.dense, 'MAC')}"))
    below = [0.0] * len(layers)
    for name in _met(estimate):
        colour, stroke, hatch = _PASSES[name]
        costs = [each.costs.by_part()[name] for each in estimate.layers]
        heights = [(cost.sparse if sparse else cost.dense) / unit for cost in costs]
        bars = axes.bar(
            layers, heights, width, bottom=below, color=colour, edgecolor=stroke, linewidth=0,
            hatch=hatch if hatched else None, label=name,
        )  # fmt: skip
        total = estimate.costs.by_part()[name]
        legend.append((bars.patches[0], f"{name}: {scaled(total.sparse if sparse else total.dense, 'MAC')}"))
        below = [low + height for low, height in zip(below, heights, strict=True)]
    name_layers(axes, names, at)
    label(axes, at, y=f"training [{prefix}MAC per sample]")
    tallest = [max(pair) for pair in zip([each / unit for each in dense], below, strict=True)]
    _cut(axes, tallest, names, f"{prefix}MAC", at)
    training = estimate.costs.training
    amount = (
        f"{scaled(training.sparse, 'MAC')} of {scaled(training.dense, 'MAC')}" if sparse
        else scaled(training.dense, "MAC")
    )  # fmt: skip
    return finish(
        axes,
        at,
        title=f"{estimate.network.name}: cost of training by layer",
        caption=f"{counting(estimate)} All {len(layers)} layers: {amount} per sample."
        if len(layers) > 1
        else f"{counting(estimate)} {amount} per sample.",
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
    passes = _met(estimate)
    every = panels(at, down=1 + len(passes), height=(0.55 + 0.35 * len(passes)) * at.height, sharex=True, sharey=True)
    layers = [each.costs for each in estimate.layers]
    _saved(every[0], [each.training for each in layers], estimate.costs.training, "training", "#999999", at)
    for axes, name in zip(every[1:], passes, strict=True):
        costs = [each.by_part()[name] for each in layers]
        _saved(axes, costs, estimate.costs.by_part()[name], name, _PASSES[name][0], at)
    lowest = min(0.0, *(100 * cost.reduction for each in layers for cost in (each.training, *each.by_part().values())))
    every[0].set_ylim(1.05 * lowest, 105)
    every[0].set_yticks([0, 50, 100])
    for axes in every[:-1]:
        axes.tick_params(axis="x", which="both", bottom=False, labelbottom=False)
    name_layers(every[-1], layer_names(estimate), at)
    figure = finish(
        every[0],
        at,
        title=f"{estimate.network.name}: what sparsity saves in each layer",
        caption=f"{counting(estimate)} Dashed: all layers. ×: dense; no bar and no ×: no such work.",
    )
    figure.supylabel("reduction of MACs [%]", fontsize=at.text)
    return figure


def _saved(axes: Axes, costs: list[Cost], whole: Cost, name: str, colour: str, at: Size) -> None:
    """A panel of bars, one a layer, with the network's own reduction as a line and in its heading."""
    places = [place for place, cost in enumerate(costs) if cost.dense]
    values = [100 * costs[place].reduction for place in places]
    axes.bar(places, values, _width(len(costs), at), color=colour, linewidth=0, label=name)
    axes.plot(
        [place for place, value in zip(places, values, strict=True) if value == 0], [0.0] * values.count(0),
        linestyle="", marker="x", markersize=min(at.marker, points_a_layer(len(costs), at)), color=BLACK,
        markeredgewidth=0.5 * at.line, clip_on=False, zorder=3, label=f"{name}: dense",
    )  # fmt: skip
    axes.axhline(
        100 * whole.reduction, color=BLACK, linewidth=0.8 * at.line, linestyle=(0, (5, 2)), path_effects=halo(at),
        label="network",
    )  # fmt: skip
    axes.set_title(f"{name}: {percent(whole.reduction)} saved over all layers", fontsize=at.small, loc="left", pad=2)


def remaining_by_layer(estimate: Estimate, *, size: str = "screen") -> Figure:
    """Where the MACs are that sparsity leaves: layers by their share, the largest first, and how the shares add up."""
    at = size_named(size)
    stacked = size == "column"
    ranked, adding = (
        panels(at, down=2, height=1.9 * at.height, height_ratios=(1.9, 1))
        if stacked
        else panels(at, across=2, height=1.1 * at.height, width_ratios=(1.25, 1))
    )
    total, dense_total = estimate.costs.training.sparse, estimate.costs.training.dense
    every = sorted(
        (
            (each.costs.training.sparse / total, each.costs.training.dense / dense_total, name)
            for each, name in zip(estimate.layers, layer_names(estimate), strict=True)
        ),
        key=lambda each: -each[0],
    )
    legend = _ranked(ranked, every, at, _NAMED[size], estimate.plan.asks_for_sparsity)
    reached = _adding(adding, [share for share, _, _ in every], at)
    held = ", ".join(f"{100 * share:.0f} % in {count}" for share, count in zip(_SHARES, reached, strict=True))
    rest = [share for share, _, _ in every[_NAMED[size] :]]
    others = f" The {len(rest)} without a name hold {100 * sum(rest):.1f} %." if rest else ""
    of = "the remaining MACs are" if estimate.plan.asks_for_sparsity else "the MACs of training are"
    left = f"{scaled(total, 'MAC')} of {scaled(dense_total, 'MAC')} per sample are left; "
    return finish(
        ranked,
        at,
        title=f"{estimate.network.name}: where {of}",
        caption=f"{counting(estimate)} {left if estimate.plan.asks_for_sparsity else ''}"
        f"{held} of {len(every)} layer{'' if len(every) == 1 else 's'}.{others}",
        legend=legend,
    )


def _ranked(axes: Axes, every: list[tuple[float, float, str]], at: Size, most: int, sparse: bool) -> list[Entry]:
    """The largest shares as bars with names."""
    shown = every[:most]
    names = [short(name, _LONGEST) for _, _, name in shown]
    rows = range(len(shown))
    bars = axes.barh(rows, [100 * share for share, _, _ in shown], 0.75, color=BLUE, label="left")
    legend: list[Entry] = [(bars.patches[0], "share of what is left" if sparse else "share of training")]
    if sparse:
        (dense,) = axes.plot(
            [100 * share for _, share, _ in shown], rows, linestyle="", marker="D", markersize=at.marker,
            markerfacecolor="white", markeredgecolor=VERMILION, markeredgewidth=0.6 * at.line, label="dense",
        )  # fmt: skip
        legend.append((dense, "share of dense training"))
    axes.set_yticks(rows, names, fontsize=at.small)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=PALE, linewidth=0.6)
    axes.set_ylim(max(len(shown) - 0.4, 1.0), -0.6 if len(shown) > 1 else -1.0)
    label(axes, at, x="share of MACs [%]")
    return legend


def _adding(axes: Axes, shares: list[float], at: Size) -> list[int]:
    """The sum of the largest shares over how many they are; gives the counts at which _SHARES are reached."""
    sums = [0.0, *accumulate(shares)]
    axes.plot(range(len(sums)), [100 * each for each in sums], color=BLUE, linewidth=at.line, label="together")
    reached = [next(count for count, each in enumerate(sums) if each >= share - 1e-12) for share in _SHARES]
    for share, count in zip(_SHARES, reached, strict=True):
        axes.plot([0, count, count], [100 * share, 100 * share, 0], color=GREY, linewidth=0.8, linestyle=":")
        axes.plot(count, 100 * sums[count], marker="o", markersize=at.marker, color=BLUE, clip_on=False)
    axes.set(xlim=(0, len(shares)), ylim=(0, 103))
    axes.set_yticks([0, *(100 * share for share in _SHARES), 100])
    if len(shares) < 6:
        axes.set_xticks(range(len(sums)))
    label(axes, at, x="layers, the largest first", y="together [%]")
    return reached
