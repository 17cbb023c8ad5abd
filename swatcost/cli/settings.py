"""Options that say what an estimate is of: shared by what estimates, plans and draws."""

from __future__ import annotations

import click

from swatcost.cli.options import FIRST_LAYER, FROM, KEEP_DENSE, LAST_LAYER, shown, sparsity, together
from swatcost.counting.conventions import DEFAULT_ACT_SPARSITY

_STEPS = shown("--steps", "Training steps over which a method's schedule is averaged.", 32_000, "N")
_DETAILS = (
    FROM,
    shown("--default-act-sparsity", "Zeros that ReLU leaves, or a run's record.", str(DEFAULT_ACT_SPARSITY), "S"),
    FIRST_LAYER,
    LAST_LAYER,
    KEEP_DENSE,
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


estimate_options = together(*_NAMES, _STEPS, *_DETAILS)
"""What an estimate is asked for, apart from the network."""

schedule_options = together(_STEPS, *_DETAILS)
"""The steps of a run, and what an estimate takes beside sparsities, names and sizes."""

detail_options = together(*_DETAILS)
"""What an estimate takes beside sparsities, names, sizes and steps."""
