"""`swatcost two-four`: what 2:4 sparsity fits, and what it gives at most."""

from __future__ import annotations

from pathlib import Path

import click

from swatcost.cli.options import FORMAT, MODEL, OUTPUT, Loading, loaded, model_options, shown
from swatcost.cli.output import show_result
from swatcost.simulation.two_four import two_four


@click.command("two-four")
@MODEL
@shown("--element", "Data type: float16, bfloat16, int8, float8 or float32.", "float16", "T")
@shown("--batch-size", "Samples in a training step.", 32, "N")
@click.option("--layers", is_flag=True, help="Also print one row per layer and pass.")
@model_options
@FORMAT
@OUTPUT
def command(
    model: str,
    element: str,
    batch_size: int,
    layers: bool,
    loading: Loading,
    format: str | None,
    output: Path | None,
) -> None:
    """Says which layers and passes 2:4 sparsity fits, and what it gives at most.

    Example: swatcost two-four vit_b_16 --layers
    """
    found = two_four(loaded(model, **loading), element=element, batch_size=batch_size)
    show_result(found, format, output, layers=layers)
