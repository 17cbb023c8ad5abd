"""`swatcost inference`: what a language model costs to run, prompt and tokens from a cache."""

from typing import Any

import click

from swatcost.cli.options import network_options, reporting, setting_options, shown
from swatcost.cli.progress import waiting
from swatcost.cli.typed import no_difference
from swatcost.cli.unused import say_unused
from swatcost.network import Network
from swatcost.planning.inference import INFERRING, Inference, inference
from swatcost.planning.inference_work import DTYPES


@click.command("inference")
@network_options
@shown("--prompt", "Tokens of each prompt.", 2048, "N")
@shown("--generate", "Tokens generated after the first, which the prompt gives.", 256, "N")
@click.option(
    "--dtype", type=click.Choice(list(DTYPES)), default="bf16", show_default=True, help="Of weights and of the cache."
)
@setting_options(INFERRING)
@reporting
def command(network: Network, **asked: Any) -> Inference:
    """Shows what inference with a language model costs: its prompt, each further token, and its key-value cache.

    \b
    Example:
      swatcost inference llama2_7b --prompt 2048 --generate 256 --device h100
    """
    with waiting("estimating"):
        found = inference(network, **asked)
    no_difference("checkpoint", "inference recomputes nothing")
    # The report itself says where it has no times for a device.
    say_unused([found.estimate], {"device": lambda found: None})
    return found
