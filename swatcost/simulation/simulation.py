"""A training step on a weight-skipping accelerator: an estimate, an architecture, masks → a Simulation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from swatcost.accelerator.architecture import Architecture, device_of, load_architecture
from swatcost.accelerator.cycles import Cycles, LayerCycles
from swatcost.common.errors import SwatcostError
from swatcost.common.result import Result
from swatcost.estimate import Estimate, estimate_setting
from swatcost.loading import counted_network
from swatcost.network import Network
from swatcost.network.passes import PASSES, Pass
from swatcost.setting import NOT_TIMED, Scope, Settings
from swatcost.timing import topk
from swatcost.timing.times import Times

if TYPE_CHECKING:
    from swatcost.accelerator.masks import MaskSource


@dataclass(frozen=True, kw_only=True, repr=False)
class Simulation(Result):
    """A training step of `estimate`'s network, plan and batch size on an architecture.

    Cycles are per sample; `step_cycles` are of a whole step, Top-K included.
    """

    report = "simulation"

    estimate: Estimate
    architecture: Architecture
    masks: MaskSource
    layers: tuple[LayerCycles, ...]

    def of(self, in_pass: Pass) -> Cycles:
        """The cycles of a pass, over all layers."""
        return sum((each.passes[in_pass] for each in self.layers if in_pass in each.passes), Cycles())

    @property
    def training(self) -> Cycles:
        """The cycles of all layers and passes."""
        return sum((each.training for each in self.layers), Cycles())

    @property
    def topk_cycles(self) -> float:
        """One Top-K over the operands that the method selects, for the batch."""
        return self.estimate.topk_seconds * self.architecture.clock

    @property
    def dense_step_cycles(self) -> float:
        """A dense step of the batch."""
        return self.training.dense * self.estimate.batch_size

    @property
    def sparse_step_cycles(self) -> float:
        """A sparse step of the batch, without a Top-K."""
        return self.training.sparse * self.estimate.batch_size

    @cached_property
    def times(self) -> Times:
        """A step's times as the clock has them, and what speedups they give."""
        return Times(
            reduction=self.training.reduction,
            dense_step_seconds=self.dense_step_cycles / self.architecture.clock,
            topk_seconds=self.estimate.topk_seconds,
            attainable_step_seconds=self.sparse_step_cycles / self.architecture.clock,
            hidden=self.estimate.selecting.hidden,
        )

    @property
    def topk_cycles_per_step(self) -> float:
        """A Top-K's cycles per step; for a hidden one, only what the steps of its period cannot hide."""
        period = self.estimate.topk_period
        return float(self.times.added_topk_seconds(period)) * self.architecture.clock / period

    @property
    def step_cycles(self) -> float:
        """A sparse step of the batch, Top-K included."""
        return self.sparse_step_cycles + self.topk_cycles_per_step

    @property
    def speedup(self) -> float:
        """The simulated speedup of a training step, Top-K included."""
        return float(self.times.speedup(self.estimate.topk_period))

    @property
    def ideal_speedup(self) -> float:
        """The speedup of a step without Top-K if cycles fell as executed MACs do."""
        return topk.speedup_limit(self.estimate.exact.training.reduction)


SIMULATING = Scope(without={"device": "the architecture is the device: set it with --arch", **NOT_TIMED})
"""The settings of a simulation."""


def simulate(
    network: Network | str | Path | Estimate,
    *,
    arch: str | Path | Architecture = "bit-tactical",
    shape: str | None = None,
    masks: MaskSource | None = None,
    passes: tuple[Pass, ...] = PASSES,
    threads: int | None = None,
    progress: Callable[[str], object] = lambda layer: None,
    **settings: Unpack[Settings],
) -> Simulation:
    """Simulates a network's training step on an architecture.

    settings are those of `swatcost.estimate` (weights, acts, method, distribution, batch_size, …) except the device; an
    Estimate brings its own. shape replaces the architecture's promotion shape, for example "L4,3". threads defaults to
    the number of processors and does not change the numbers; progress is called with the name of each finished layer.

    Raises SwatcostError for invalid arguments.
    """
    from swatcost.accelerator.layer_cycles import layer_cycles
    from swatcost.accelerator.masks import GAUSSIAN

    masks = masks or GAUSSIAN
    architecture = arch if isinstance(arch, Architecture) else load_architecture(arch)
    if shape is not None:
        architecture = architecture.with_shape(shape)
    if isinstance(network, Estimate):
        if settings:
            raise SwatcostError(f"{next(iter(settings))}: an Estimate has its settings already, leave it out")
        traced, setting = network.network, network.setting
    else:
        traced, setting = counted_network(network), SIMULATING.setting(settings)
    chosen = estimate_setting(traced, setting.but(device=device_of(architecture)))
    layers = layer_cycles(
        chosen.network, chosen.plan, chosen.batch_size, architecture,
        masks=masks, passes=passes, threads=threads, progress=progress,
    )  # fmt: skip
    return Simulation(estimate=chosen, architecture=architecture, masks=masks, layers=layers)
