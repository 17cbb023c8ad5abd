"""What is held in memory over a training step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swatcost.common.colours import BLACK, BLUE, SKY, VERMILION
from swatcost.memory.dense_step import StepMemory
from swatcost.plots.canvas import finish, panels, size_named
from swatcost.report.numbers import axis_unit, scaled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def memory_timeline(step: StepMemory, name: str, *, size: str = "screen") -> Figure:
    """Memory [B] over the events of a dense step: parameters, state and buffers below, the rest on top.

    step is what `swatcost.memory.dense_step.training_memory` returns, name the network's. An event allocates or frees a
    storage.
    """
    at = size_named(size)
    (axes,) = panels(at)
    prefix, unit = axis_unit(step.peak.bytes)
    base = sum(step.constant.values()) / unit
    held = [base + each / unit for each in step.live]
    events = range(len(held))
    live = axes.fill_between(events, base, held, step="post", color=SKY, linewidth=0, label="live")
    axes.plot(events, held, drawstyle="steps-post", color=BLUE, linewidth=0.5 * at.line, label="held")
    constant = axes.fill_between(
        [0, max(len(held) - 1, 1)], 0, base, facecolor="#4D4D4D", edgecolor="white", hatch="///", linewidth=0,
        label="constant",
    )  # fmt: skip
    turn = axes.axvline(step.backward, color=BLACK, linewidth=0.9, linestyle=(0, (1, 1.2)), label="backward")
    peak = axes.axhline(
        step.peak.bytes / unit, color=VERMILION, linewidth=0.7 * at.line, linestyle=(0, (5, 2)), label="peak"
    )
    axes.set(xlim=(0, max(len(held) - 1, 1)), ylim=(0, 1.06 * step.peak.bytes / unit))
    axes.set(xlabel="storages made and freed, in order", ylabel=f"memory [{prefix}B]")
    during = step.peak.phase + ("" if step.peak.phase == "optimizer step" else " pass")
    return finish(
        axes,
        at,
        title=f"{name}: memory over a training step",
        caption=f"Dense training, {step.batch_size} samples, {step.optimizer.name}, {step.precision.name} "
        f"({step.precision.title}), on any device.",
        legend=[
            (peak, f"peak, {during}: {scaled(step.peak.bytes, 'B')}"),
            (turn, "the backward pass begins"),
            (live, "activations and gradients"),
            (constant, "parameters, optimizer state, buffers"),
        ],
    )
