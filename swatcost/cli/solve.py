"""`swatcost solve`: the least sparse setting that reaches a goal."""

from typing import Any

import click

from swatcost.cli.completion import offering
from swatcost.cli.options import FractionType, network_options, reporting, setting_options, shown
from swatcost.cli.progress import waiting
from swatcost.memory.dense_step import OPTIMIZERS, PRECISIONS
from swatcost.network import Network
from swatcost.planning.solution import SOLVING, Solution, solution


@click.command("solve")
@network_options
@click.option("--speedup", type=float, metavar="X", help="Goal: a training step this many times as fast as dense.")
@click.option("--training-flops", type=FractionType(), help="Goal: at most this share of dense training FLOPs.")
@click.option("--memory", metavar="MEMORY", help="Goal: a step's peak, compressed, within 11GB, 24GiB or a device.")
@click.option(
    "--top-k-overhead", "topk_overhead", type=FractionType(),
    help="Goal: what a Top-K adds to the sparse steps of its period; solves for the period.",
)  # fmt: skip
@shown("--optimizer", "sgd, momentum, adam or adamw; for --memory.", "momentum", "O", offering(OPTIMIZERS.names))
@shown("--precision", "fp32, bf16, fp16 or mixed; for --memory.", "fp32", "P", offering(PRECISIONS.names))
@setting_options(SOLVING)
@reporting
def command(network: Network, **asked: Any) -> Solution:
    """Looks for the least sparse setting that reaches a goal.

    With several goals, all of them. Sparsities that are given are fixed and the others move together; where none is
    left to move, the period is looked for. A goal out of reach says what the limit is and exits with 1.

    Example: swatcost solve wide_resnet50_2 --speedup 3 --device rtx2080ti
    """
    with waiting("solving"):
        found = solution(network, **asked)
    if not found.reached:
        context = click.get_current_context()
        context.call_on_close(lambda: context.exit(1))
    return found
