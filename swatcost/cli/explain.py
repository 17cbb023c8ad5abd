"""`swatcost explain`: why two conventions give two numbers."""

from typing import Any

import click

from swatcost.cli.completion import offering
from swatcost.cli.options import PlotFile, network_options, plot_options, reporting, setting_options, shown
from swatcost.cli.progress import waiting
from swatcost.cli.unused import say_recomputed, say_unused
from swatcost.counting import CONVENTIONS
from swatcost.network import Network
from swatcost.planning.explanation import EXPLAINING, Explanation, explain
from swatcost.unused import steps_under


@click.command("explain")
@network_options
@shown("--from-convention", "The convention to start from.", "swat", "C", offering(CONVENTIONS.names))
@shown("--to-convention", "The convention to arrive at.", "exact", "C", offering(CONVENTIONS.names))
@setting_options(EXPLAINING)
@plot_options("the steps from one reduction to the other")
@reporting
def command(network: Network, plot: PlotFile | None, **asked: Any) -> Explanation:
    """Explains why a training reduction differs between two conventions, one switch at a time.

    \b
    Example:
      swatcost explain resnet50 --method rigl --weights 0.8 --to-convention rigl
    """
    with waiting("explaining"):
        found = explain(network, **asked)
    say_recomputed(network)
    say_unused([found.start, found.end], {"steps": steps_under()})
    if plot is not None:
        from swatcost.plots import reduction_by_switch

        plot.save(reduction_by_switch(found, size=plot.size))
    return found
