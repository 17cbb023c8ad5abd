"""`swatcost simulate`: a training step on a sparse accelerator."""

from typing import Any

import click

from swatcost.accelerator.architecture import architecture_names
from swatcost.cli.completion import offering
from swatcost.cli.options import PlotFile, network_options, plot_options, reporting, setting_options, shown
from swatcost.cli.progress import progress_bar
from swatcost.cli.typed import no_difference
from swatcost.cli.unused import say_unused
from swatcost.network import Network
from swatcost.plots import cycles_by_layer
from swatcost.simulation.simulation import SIMULATING, Simulation, simulate
from swatcost.unused import never

ARCH = shown(
    "--arch", "Architecture or .toml file; see `list architectures`.", "bit-tactical", "A",
    offering(architecture_names, files=True),
)  # fmt: skip


SIMULATED = never("cycles are those of one step, and no convention's", "convention", "steps", "default_act_sparsity")
"""The rules of settings that cycles do not depend on."""


@click.command("simulate")
@network_options
@setting_options(SIMULATING)
@ARCH
@click.option("--shape", metavar="S", help="Promotion shape: T2,5, L4,3, or X8 for a full crossbar.")
@click.option(
    "--masks", default="gaussian", show_default=True, metavar="M",
    shell_complete=offering(lambda: ("gaussian", "random"), files=True),
    help="gaussian, random, a checkpoint or a run's record (.jsonl).",
)  # fmt: skip
@shown("--filter-spread", "σ of gaussian filters' log-normal scales.", 0.0, "σ")
@shown("--seed", "Seed of the masks.", 0, "N")
@click.option("--layers", is_flag=True, help="Also print one row per layer and pass.")
@plot_options("cycles by layer, and how its multiplier slots are used")
@reporting
def command(
    network: Network, masks: str, filter_spread: float, seed: int, layers: bool, plot: PlotFile | None, **asked: Any
) -> Simulation:
    """Simulates a training step on a sparse accelerator, cycle by cycle.

    Example: swatcost simulate resnet50 --weights 0.9 --acts 0.9 --arch bit-tactical
    """
    from swatcost.accelerator.masks import masks_from

    chosen = masks_from(masks, network, seed=seed, filter_spread=filter_spread)
    with progress_bar(len(network.counted_layers), network.name) as bar:
        found = simulate(network, masks=chosen, progress=lambda layer: bar.update(1, layer), **asked)
    say_unused([found.estimate], SIMULATED)
    no_difference("checkpoint", "what is recomputed is not simulated")
    if not any(each.weight for each in found.estimate.plan.layers):
        for name in ("masks", "filter_spread"):
            no_difference(name, "no weights are sparse")
    if not found.estimate.plan.asks_for_sparsity:
        for name in ("shape", "seed"):
            no_difference(name, "nothing is sparse")
    elif chosen.kind != "gaussian" or chosen.weights is not None:
        no_difference("filter_spread", f"masks are {chosen.described}")
    if plot is not None:
        plot.save(cycles_by_layer(found, size=plot.size))
    return found
