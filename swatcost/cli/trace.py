"""`swatcost trace`: a network's trace as a file."""

from pathlib import Path

import click

from swatcost.cli.options import OUTPUT, network_options
from swatcost.cli.output import show
from swatcost.cli.progress import say, to_terminal
from swatcost.common.errors import SwatcostError
from swatcost.network import Network


@click.command("trace")
@network_options
@OUTPUT
def command(network: Network, output: Path | None) -> None:
    """Traces a network and saves it as JSON, which every command takes as MODEL.

    Example: swatcost trace resnet50 --output resnet50.json
    """
    if output is not None and output.suffix != ".json":
        say(f"commands take {output} as MODEL only if its name ends in .json")
    text = network.to_json()
    if output is None and to_terminal():
        raise SwatcostError(f"a trace is {len(text):,} characters of JSON: give --output FILE, or redirect the output")
    show(text, output)
