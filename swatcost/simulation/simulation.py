"""A training step on a weight-skipping accelerator: an estimate, an architecture, masks → a Simulation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from swatcost.accelerator.architecture import Architecture, device_of, load_architecture
from swatcost.accelerator.cycles import Cycles, LayerCycles
from swatcost.accelerator.layer_cycles import layer_cycles
from swatcost.accelerator.masks import GAUSSIAN, MaskSource
from swatcost.common.errors import SwatcostError
from swatcost.counting.costs import PASSES, Pass
from swatcost.estimate import Estimate, estimate
from swatcost.network import Network
from swatcost.timing import topk
from swatcost.timing.selection import topk_seconds


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """A training step of `estimate`'s network, plan and batch size on an architecture.

    Cycles are per sample; `step_cycles` are of a whole step with its share of a Top-K.
    """

    estimate: Estimate
    architecture: Architecture
    masks: MaskSource
    layers: tuple[LayerCycles, ...]

    def of(self, in_pass: Pass) -> Cycles:
        """All layers of a pass."""
        return sum((each.passes[in_pass] for each in self.layers if in_pass in each.passes), Cycles())

    @property
    def training(self) -> Cycles:
        """All layers and passes."""
        return sum((each.training for each in self.layers), Cycles())

    @property
    def topk_cycles(self) -> float:
        """One Top-K over what the method selects, for the batch."""
        return self.estimate.topk_seconds * self.architecture.clock

    @property
    def dense_step_cycles(self) -> float:
        """A dense step of the batch."""
        return self.training.dense * self.estimate.batch_size

    @property
    def sparse_step_cycles(self) -> float:
        """A sparse step of the batch, without a Top-K."""
        return self.training.sparse * self.estimate.batch_size

    @property
    def topk_cycles_per_step(self) -> float:
        """What a Top-K adds to a step; of a hidden one, what does not fit behind the steps of its period."""
        period, cycles = self.estimate.topk_period, self.topk_cycles
        if self.estimate.selecting.hidden:
            cycles = topk.exposed_seconds(
                topk_seconds=cycles, sparse_step_seconds=self.sparse_step_cycles, period=period
            )
        return cycles / period

    @property
    def step_cycles(self) -> float:
        """A sparse step of the batch, with a Top-K's share."""
        return self.sparse_step_cycles + self.topk_cycles_per_step

    @property
    def speedup(self) -> float:
        """Of a whole training step, Top-K included."""
        return self.dense_step_cycles / self.step_cycles

    def to_dict(self) -> dict[str, Any]:
        """The simulation as plain data, as `--format json` prints it."""
        from swatcost.report.simulation import to_dict

        return to_dict(self)

    def to_frame(self) -> Any:
        """A pandas DataFrame with a row a layer and pass."""
        import pandas

        from swatcost.report.simulation import rows

        return pandas.DataFrame(rows(self))

    def __repr__(self) -> str:
        from swatcost.report.simulation import render

        return render(self, "table")

    def _repr_html_(self) -> str:
        from swatcost.report.html import sheet_to_html
        from swatcost.report.simulation import sheet

        return sheet_to_html(sheet(self))


def simulate(
    network: Network | str | Path | Estimate,
    *,
    arch: str | Path | Architecture = "bit-tactical",
    shape: str | None = None,
    masks: MaskSource = GAUSSIAN,
    passes: tuple[Pass, ...] = PASSES,
    threads: int | None = None,
    progress: Callable[[str], object] = lambda layer: None,
    **settings: Any,
) -> Simulation:
    """Simulates a network's training step on an architecture.

    settings are those of `swatcost.estimate` (weights, acts, method, distribution, batch_size, …) but for the device;
    an Estimate brings its own. shape replaces the architecture's promotion shape, such as "L4,3". threads are as many
    as there are processors; progress is called with each layer's name as it is done. The numbers do not depend on
    threads.

    Raises SwatcostError for what cannot be used.
    """
    architecture = arch if isinstance(arch, Architecture) else load_architecture(arch)
    if shape is not None:
        architecture = architecture.with_shape(shape)
    device = device_of(architecture)
    if isinstance(network, Estimate):
        if settings:
            raise SwatcostError(f"{next(iter(settings))}: an Estimate has its settings already, leave it out")
        seconds = topk_seconds(network.network, network.plan, device, network.batch_size, network.selecting)
        chosen = replace(network, device=device, topk_seconds=seconds)
    else:
        chosen = estimate(network, device=device, **settings)
    layers = layer_cycles(
        chosen.network, chosen.plan, chosen.batch_size, architecture,
        masks=masks, passes=passes, threads=threads, progress=progress,
    )  # fmt: skip
    return Simulation(estimate=chosen, architecture=architecture, masks=masks, layers=layers)
