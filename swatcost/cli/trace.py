"""`swatcost trace`: a network's trace as a file."""

from pathlib import Path

import click

from swatcost.cli.completion import offering
from swatcost.cli.options import HOLD_OUTPUTS, LOSS, OFFLOAD, OUTPUT, network_options
from swatcost.cli.output import show
from swatcost.cli.progress import say, to_terminal
from swatcost.common.errors import SwatcostError
from swatcost.network import Network
from swatcost.network.conditions import AUTOCASTS


def _autocast(context: click.Context, parameter: click.Parameter, precision: str | None) -> str | None:
    if precision is not None and precision not in AUTOCASTS:
        raise SwatcostError(
            f"--precision {precision!r:.40}: a trace is in the network's own precision, or under torch.autocast: give "
            f"{', '.join(AUTOCASTS)}, or leave it out"
        )
    return precision


@click.command("trace")
@network_options
@LOSS
@click.option(
    "--precision", metavar="P", shell_complete=offering(lambda: list(AUTOCASTS)), callback=_autocast,
    help="amp, or another kind of torch.autocast.  [default: the network's own]",
)  # fmt: skip
@OFFLOAD
@HOLD_OUTPUTS
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
