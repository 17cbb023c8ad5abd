"""`swatcost validate`: the model's numbers beside those of executed steps."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from swatcost.cli.options import FORMAT, LAYERS, MODEL, OUTPUT, setting_options, shown
from swatcost.cli.output import show_result
from swatcost.cli.progress import unattended
from swatcost.cli.run import REFERENCE, data_option
from swatcost.reference.scopes import VALIDATING


@click.command("validate")
@MODEL
@setting_options(VALIDATING)
@data_option("synthetic")
@shown("--lr", "Learning rate of the steps.", 0.05, "R")
@shown("--bound", "Relative difference from which on causes are named.", 0.01, "B")
@REFERENCE
@LAYERS
@FORMAT
@OUTPUT
def command(model: str, layers: bool, format: str | None, output: Path | None, lr: float, **asked: Any) -> None:
    """Executes a few steps by Algorithm 1 and compares the model's numbers with what was measured.

    Example: swatcost validate cifar_resnet18 --weights 0.8 --acts 0.8 --layers
    """
    from swatcost.reference.validation import validate

    with click.progressbar(length=asked["steps"], label=model, file=sys.stderr, hidden=unattended()) as bar:
        found = validate(model, learning_rate=lr, progress=lambda step: bar.update(1), **asked)
    show_result(found, format, output, layers=layers)
