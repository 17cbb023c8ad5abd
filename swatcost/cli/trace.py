"""`swatcost trace`: a network's trace as a file."""

from pathlib import Path

import click

from swatcost.cli.options import OUTPUT, network_options
from swatcost.cli.output import show
from swatcost.network import Network


@click.command("trace")
@network_options
@OUTPUT
def command(network: Network, output: Path | None) -> None:
    """Traces a network and saves it as JSON, to be named as MODEL later.

    Example: swatcost trace resnet50 --output resnet50.json
    """
    show(network.to_json(), output)
