"""`swatcost trace`: a network's trace as a file."""

from pathlib import Path

import click

from swatcost.cli.completion import offering
from swatcost.cli.options import LOSS, OUTPUT, network_options
from swatcost.cli.output import show
from swatcost.cli.progress import say, to_terminal
from swatcost.common.errors import SwatcostError
from swatcost.network import Network
from swatcost.network.conditions import AUTOCASTS


@click.command("trace")
@network_options
@LOSS
@click.option(
    "--precision", metavar="P", shell_complete=offering(lambda: list(AUTOCASTS)),
    help="amp, or another kind of torch.autocast.  [default: the network's own]",
)  # fmt: skip
@OUTPUT
def command(network: Network, precision: str | None, output: Path | None) -> None:
    """Traces a network and saves it as JSON, which every command takes as MODEL.

    Example: swatcost trace resnet50 --output resnet50.json
    """
    if output is not None and output.suffix != ".json":
        say(f"commands take {output} as MODEL only if its name ends in .json")
    text = network.to_json()
    if output is None and to_terminal():
        raise SwatcostError(f"a trace is {len(text):,} characters of JSON: give --output FILE, or redirect the output")
    show(text, output)
