"""Options that say what an estimate is of: shared by what estimates, plans and draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from swatcost.cli.options import FROM, shown, sparsity
from swatcost.conventions import DEFAULT_ACT_SPARSITY

_STEPS = shown("--steps", "Training steps over which a method's schedule is averaged.", 32_000, "N")
_DETAILS = (
    FROM,
    shown("--default-act-sparsity", "Zeros that ReLU leaves, or a run's record.", str(DEFAULT_ACT_SPARSITY), "S"),
    click.option("--first-layer", type=click.Choice(["dense", "sparse"]), help="[default: as the distribution has it]"),
    click.option("--last-layer", type=click.Choice(["dense", "sparse"]), help="[default: sparse]"),
    click.option(
        "--keep-dense", multiple=True, metavar="PATTERN",
        help="Layers to keep dense, such as '*.downsample.*'; repeatable.",
    ),
    click.option(
        "--selection", metavar="A", help="Find thresholds by another algorithm that the device was timed with."
    ),
    click.option("--one-sample", is_flag=True, help="Find activations' thresholds on one sample (A.4)."),
    click.option("--hide-topk", "hidden", is_flag=True, help="Run selections beside training (A.4)."),
)  # fmt: skip
_NAMES = (
    sparsity("--weights", "Weight sparsity: the fraction of zeros, in [0, 1)."),
    sparsity("--acts", "Activation sparsity; by default as the distribution has it, or 0."),
    sparsity("--grads", "Sparsity of outputs' gradients, for meprop and dsg."),
    shown("--period", "Iterations between two Top-K selections.", 1000, "P"),
    shown("--method", "What is sparse in which pass; see `swatcost list methods`.", "swat", "M"),
    shown("--distribution", "How sparsity is spread over layers; see `list distributions`.", "uniform", "D"),
    shown("--convention", "How MACs are counted; see `swatcost list conventions`.", "swat", "C"),
    shown("--device", "Machine profile, or a .toml file; see `swatcost list devices`.", "rtx2080ti", "D"),
    shown("--batch-size", "Samples in a training step.", 32, "N"),
)


def estimate_options(command: Callable[..., None]) -> Callable[..., None]:
    """What an estimate is asked for, apart from the network."""
    return _added(command, (*_NAMES, _STEPS, *_DETAILS))


def schedule_options(command: Callable[..., None]) -> Callable[..., None]:
    """The steps of a run, and what an estimate takes beside sparsities, names and sizes."""
    return _added(command, (_STEPS, *_DETAILS))


def detail_options(command: Callable[..., None]) -> Callable[..., None]:
    """What an estimate takes beside sparsities, names, sizes and steps."""
    return _added(command, _DETAILS)


def _added(command: Callable[..., None], options: Sequence[Callable[..., Any]]) -> Callable[..., None]:
    for option in reversed(options):
        command = option(command)
    return command
