"""`swatcost conventions`: one network and method under every convention."""

from typing import Any

import click

from swatcost.cli.options import network_options, reporting, setting_options
from swatcost.cli.progress import waiting
from swatcost.cli.unused import say_recomputed, say_unused
from swatcost.network import Network
from swatcost.planning.conventions import COUNTING, Conventions, conventions
from swatcost.unused import steps_under


@click.command("conventions")
@network_options
@setting_options(COUNTING)
@reporting
def command(network: Network, **asked: Any) -> Conventions:
    """Counts a network under every convention, with what each includes and what each switch is worth.

    \b
    Example:
      swatcost conventions gpt2 --method rigl --weights 0.8 --convention palm
    """
    with waiting("counting"):
        found = conventions(network, **asked)
    say_recomputed(network)
    say_unused([found.base], {"steps": steps_under(*(each.convention for each in found.counts))})
    return found
