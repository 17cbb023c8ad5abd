"""`swatcost memory`: the memory of a training step, and what fits."""

from typing import Any

import click

from swatcost.cli.completion import offering
from swatcost.cli.options import (
    PlotFile,
    execution_options,
    network_options,
    plot_options,
    reporting,
    setting_options,
)
from swatcost.cli.unused import TIMES, say_same, say_unused
from swatcost.counting import CONVENTIONS
from swatcost.devices import device_names
from swatcost.estimate import Estimate
from swatcost.memory import activation_reduction
from swatcost.network import Network
from swatcost.planning.memory import MEASURING, MemoryReport, memory_of
from swatcost.plots import memory_timeline
from swatcost.unused import RULES, Rule, never


def _convention(found: Estimate) -> str | None:
    reductions = {activation_reduction(found.network, found.plan, each) for each in CONVENTIONS}
    return "conventions differ in the first layer's input alone, which is not sparse" if len(reductions) == 1 else None


def _layers(name: str) -> Rule:
    """The rule of a setting that distributes sparsity, where memory holds no sparse operand."""

    def rule(found: Estimate) -> str | None:
        kept = any(each.weight or each.activation for each in found.plan.layers)
        return RULES[name](found) if kept else "no weights or activations are sparse"

    return rule


_RULES = {
    **never("the memory of a step does not depend on it", *TIMES, "steps", "default_act_sparsity"),
    "convention": _convention,
    **{name: _layers(name) for name in ("distribution", "first_layer", "last_layer", "keep_dense", "dense_budget")},
}


@click.command("memory")
@network_options
@execution_options()
@click.option(
    "--fit", metavar="MEMORY", shell_complete=offering(device_names),
    help="Find the largest batch that fits in MEMORY: 11GB, 24GiB, or a device.",
)  # fmt: skip
@click.option(
    "--link",
    metavar="RATE",
    help="Bandwidth to the host per second, such as 16GB: adds the time to offload saved tensors.",
)
@setting_options(MEASURING)
@plot_options("memory over the step")
@reporting
def command(network: Network, plot: PlotFile | None, **asked: Any) -> MemoryReport:
    """Shows the memory of a training step, its peak, and what sparsity saves.

    Example: swatcost memory resnet50 --batch-size 32 --optimizer adam --fit 11GB
    """
    found = memory_of(network, **asked)
    say_unused([found.estimate], _RULES)
    say_same(network, found, lambda without: memory_of(network, **{**asked, **without}))
    if plot is not None:
        plot.save(memory_timeline(found.memory.dense, network, size=plot.size))
    return found
