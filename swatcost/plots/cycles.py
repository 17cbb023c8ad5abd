"""A simulated training step layer by layer: its cycles, and how the multipliers' slots are used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from swatcost.common.colours import BLACK, BLUE, ORANGE, PURPLE, YELLOW
from swatcost.network.passes import PASSES
from swatcost.plots.canvas import GREY, PALE, finish, panels
from swatcost.plots.layer_axis import HATCHED, bar_width, cut_off, name_layers, points_per_layer
from swatcost.plots.sizes import Size, size_named
from swatcost.report.charts import unique_names
from swatcost.report.estimate import asked
from swatcost.report.numbers import axis_unit, times

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from swatcost.accelerator.cycles import Cycles
    from swatcost.plots.canvas import Entry
    from swatcost.simulation.simulation import Simulation

# Of each use of a slot, in the order of `Slots`: its name, colour, hatch, and the hatch of narrow bars.
_USES = (
    ("utilisation", BLUE, "", ""),
    ("edge", ORANGE, "////", "----"),
    ("no weight in reach", YELLOW, "....", "...."),
    ("filter sync", PURPLE, "xxxx", "-------"),
    ("tile sync", BLACK, "", ""),
)


def cycles_by_layer(simulation: Simulation, *, size: str = "screen") -> Figure:
    """Cycles per sample of each layer in a training step, dense and sparse; below, what its slots are used for [%].

    A slot is a multiplier in a cycle of the sparse step: it multiplies (utilisation), or idles for one of four causes.
    """
    at = size_named(size)
    above, below = panels(at, down=2, height=1.7 * at.height, sharex=True)
    names, layers = _layers(simulation)
    legend = [*_cycles(above, names, layers, simulation.training, at), *_slots(below, layers, simulation.training, at)]
    above.tick_params(axis="x", which="both", bottom=False, labelbottom=False)
    name_layers(below, names, at)
    architecture = simulation.architecture
    passes = [each for each in PASSES if any(each in layer.passes for layer in simulation.layers)]
    return finish(
        above,
        at,
        title=f"{simulation.estimate.network.name}: simulated cycles by layer",
        caption=f"{asked(simulation.estimate)}. {architecture.name}, {architecture.shape.name}; masks: "
        f"{simulation.masks.described}. Cycles of {', '.join(passes)}; Top-K not included.",
        legend=legend,
    )


def _layers(simulation: Simulation) -> tuple[list[str], list[Cycles]]:
    """A name and the cycles of each layer; one that runs several times on the same shapes is one."""
    found: dict[tuple[object, ...], Cycles] = {}
    for each in simulation.layers:
        layer = each.layer
        key = (layer.name, layer.kind, layer.weight, layer.input_shape, layer.weight_shape, layer.output_shape)
        found[key] = found[key] + each.training if key in found else each.training
    return unique_names([(str(name), str(kind), str(weight)) for name, kind, weight, *_ in found]), list(found.values())


def _cycles(axes: Axes, names: Sequence[str], layers: Sequence[Cycles], training: Cycles, at: Size) -> list[Entry]:
    """Dense bars, pale, behind sparse ones, hatched so that they differ from the slots below in grey, too."""
    prefix, unit = axis_unit(max(max(each.dense, each.sparse) for each in layers))
    dense, sparse = ([getattr(each, how) / unit for each in layers] for how in ("dense", "sparse"))
    width, places = bar_width(len(layers), at), range(len(layers))
    behind = axes.bar(
        places, dense, width, color=PALE, edgecolor=GREY, linewidth=0.5 if width < 1 else 0, label="dense"
    )
    hatch = "\\\\\\\\" if points_per_layer(len(layers), at) >= HATCHED else "----"
    front = axes.bar(
        places, sparse, width, color=GREY, edgecolor="white", linewidth=0, hatch=hatch, label="sparse"
    )  # fmt: skip
    axes.set_ylabel(f"{prefix}cycles per sample")
    cut_off(axes, list(map(max, dense, sparse)), names, f"{prefix}cycles dense", at)
    return [
        (behind.patches[0], f"dense: {training.dense:,.0f} cycles"),
        (front.patches[0], f"sparse: {training.sparse:,.0f} cycles, speedup {times(training.speedup)}"),
    ]


def _slots(axes: Axes, layers: Sequence[Cycles], training: Cycles, at: Size) -> list[Entry]:
    """What the slots are used for, stacked; the legend has all layers' shares."""
    width, hatched = bar_width(len(layers), at), points_per_layer(len(layers), at) >= HATCHED
    tops = [0.0] * len(layers)
    legend: list[Entry] = []
    for place, (name, colour, slanted, narrow) in enumerate(_USES):
        shares = [_share(each, place) for each in layers]
        bars = axes.bar(
            range(len(layers)), shares, width, bottom=tops, color=colour, edgecolor="black", linewidth=0,
            hatch=slanted if hatched else narrow, label=name,
        )  # fmt: skip
        legend.append((bars.patches[0], f"{name}: {_share(training, place):.1f} %"))
        tops = [top + share for top, share in zip(tops, shares, strict=True)]
    axes.set(ylim=(0, 100), ylabel="share of slots [%]")
    axes.set_yticks([0, 50, 100])
    return legend


def _share(cycles: Cycles, use: int) -> float:
    total = cycles.slots.total
    return 100 * cycles.slots.as_tuple()[use] / total if total else 0.0
