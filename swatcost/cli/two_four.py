"""`swatcost two-four`: what fits 2:4 sparsity, and the most that it can gain."""

import click

from swatcost.cli.options import network_options, reporting, shown
from swatcost.cli.typed import no_difference
from swatcost.counting.two_four import TwoFour, two_four
from swatcost.network import Network


@click.command("two-four")
@network_options
@shown("--element", "Data type: float16, bfloat16, int8, float8 or float32.", "float16", "T")
@shown("--batch-size", "Samples in a training step.", 32, "N")
@click.option("--layers", is_flag=True, help="Also print one row per layer and pass.")
@reporting
def command(network: Network, element: str, batch_size: int, layers: bool) -> TwoFour:
    """Shows which layers and passes fit 2:4 sparsity, and the most that it can gain.

    Example: swatcost two-four vit_b_16 --layers
    """
    no_difference("checkpoint", "what is recomputed is not shown")
    return two_four(network, element=element, batch_size=batch_size)
