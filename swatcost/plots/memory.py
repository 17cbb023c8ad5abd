"""What is held in memory over a training step."""

from __future__ import annotations

from bisect import bisect, bisect_left
from collections.abc import Iterator
from itertools import accumulate
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from swatcost.common.colours import BLACK, BLUE, SKY, VERMILION
from swatcost.plots.canvas import finish, halo, panels, text_points
from swatcost.plots.layer_axis import name_layers
from swatcost.plots.sizes import Size, size_named
from swatcost.report.numbers import axis_unit, scaled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from swatcost.memory.dense_step import StepMemory
    from swatcost.network import Network

_HEADROOM = 1.16  # of the peak: room for the names of the passes above it


class _Phase(NamedTuple):
    """A part of the step: its name, and where it begins and ends on the axis [events]."""

    name: str
    begin: int
    end: int


def memory_timeline(step: StepMemory, network: Network, *, size: str = "screen") -> Figure:
    """Memory [B] over a dense step of the network: parameters, state and buffers below, the rest on top.

    step is what `swatcost.memory.dense_step.training_memory` returns for it. The axis is time as the trace orders it:
    a unit is one allocation or release. It names the layers, or the modules that hold them, and the passes; the
    optimizer step is as wide as its name.
    """
    at = size_named(size)
    (axes,) = panels(at)
    prefix, unit = axis_unit(step.peak.bytes)
    base = sum(step.constant.values()) / unit
    phases = list(_phases(step, at))
    held = [base + each / unit for each in step.live] + [step.at_update / unit] * (phases[-1].end - len(step.live) + 1)
    events = range(len(held))
    live = axes.fill_between(events, base, held, step="post", color=SKY, linewidth=0, label="live")
    axes.plot(events, held, drawstyle="steps-post", color=BLUE, linewidth=0.5 * at.line, label="held")
    constant = axes.fill_between(
        [0, events[-1]], 0, base, facecolor="#4D4D4D", edgecolor="white", hatch="///", linewidth=0, label="constant"
    )
    peak = axes.axhline(
        step.peak.bytes / unit, color=VERMILION, linewidth=0.7 * at.line, linestyle=(0, (5, 2)), label="peak"
    )
    axes.set_ylim(0, _HEADROOM * step.peak.bytes / unit)
    axes.set(xlabel="layers in execution order", ylabel=f"memory [{prefix}B]")
    names = _running(network, step)
    name_layers(axes, [*names, *[""] * (len(held) - 1 - len(names))], at)
    axes.set_xlim(0, events[-1])
    for phase in phases:
        _mark(axes, phase, at, at.across / phases[-1].end)
    during = step.peak.phase + ("" if step.peak.phase == "optimizer step" else " pass")
    return finish(
        axes,
        at,
        title=f"{network.name}: memory over a training step",
        caption=f"Dense training, batch {step.batch_size}, {step.execution.title}, {network.conditions.title}.",
        legend=[
            (peak, f"peak, {during}: {scaled(step.peak.bytes, 'B')}"),
            (live, "activations and gradients"),
            (constant, "parameters, optimizer state, buffers"),
        ],
    )


def _phases(step: StepMemory, at: Size) -> Iterator[_Phase]:
    """The passes that have events, and the optimizer step after them."""
    last = len(step.live)
    wanted = text_points("optimizer", at.small) + 2 * at.small
    update = max(1, round(last * wanted / (at.across - wanted)))
    yield _Phase("forward", 0, step.backward)
    if step.backward < last:
        yield _Phase("backward", step.backward, last)
    yield _Phase("optimizer", last, last + update)


def _mark(axes: Axes, phase: _Phase, at: Size, points: float) -> None:
    """A line where the phase begins and, if it is long enough, its name above the data; an event is `points` wide."""
    if phase.begin:
        axes.axvline(phase.begin, color=BLACK, linewidth=0.9, linestyle=(0, (1, 1.2)), label=phase.name)
    if points * (phase.end - phase.begin) < text_points(phase.name, at.small):
        return
    axes.annotate(
        phase.name, ((phase.begin + phase.end) / 2, 1), xycoords=axes.get_xaxis_transform(), xytext=(0, -2),
        textcoords="offset points", ha="center", va="top", fontsize=at.small, path_effects=halo(at),
    )  # fmt: skip


def _running(network: Network, step: StepMemory) -> list[str]:
    """For each event of the step the layer that runs, as far as the trace says.

    A layer begins in the forward pass when its input is there and the layers before it have begun. In the backward
    pass, in reverse order, it ends when its input is freed, or a layer after it in that order has its freed.
    """
    events, layers = step.events, network.layers
    if not layers:
        return [""] * len(events)
    made = {event - 1: place for place, event in enumerate(events) if event > 0}
    freed = {-event - 1: place for place, event in enumerate(events) if event < 0}
    begins = list(accumulate((made.get(storage, 0) for storage in network.inputs_of_layers), max))
    kept = [freed.get(storage, -1) for storage in network.inputs_of_layers]
    ends = list(accumulate((place if place >= step.backward else inf for place in kept), min))[::-1]
    forward = [layers[max(0, bisect(begins, place) - 1)] for place in range(step.backward)]
    backward = [
        layers[-1 - min(bisect_left(ends, place), len(layers) - 1)] for place in range(step.backward, len(events))
    ]
    return [each.name for each in (*forward, *backward)]
