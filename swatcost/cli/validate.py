"""`swatcost validate`: the model's numbers against executed steps."""

from typing import Any

import click

from swatcost.cli.options import LAYERS, MODEL, reporting, setting_options, shown
from swatcost.cli.progress import progress_bar
from swatcost.cli.run import REFERENCE, data_option
from swatcost.cli.unused import say_unused
from swatcost.common.result import Result
from swatcost.reference.scopes import VALIDATING
from swatcost.unused import RULES


@click.command("validate")
@MODEL
@setting_options(VALIDATING)
@data_option("synthetic")
@shown("--lr", "Learning rate.", 0.05, "R")
@shown("--bound", "Relative difference above which causes are named.", 0.01, "B")
@REFERENCE
@LAYERS
@reporting
def command(model: str, layers: bool, lr: float, **asked: Any) -> Result:
    """Executes a few steps of Algorithm 1 and compares the model's numbers with measured ones.

    Example: swatcost validate cifar_resnet18 --weights 0.8 --acts 0.8 --layers
    """
    from swatcost.reference.validation import validate

    with progress_bar(asked["steps"], model) as bar:
        found = validate(model, learning_rate=lr, progress=lambda step: bar.update(1), **asked)
    say_unused([found.estimate], {"steps": lambda found: None, "selection": RULES["period"]})
    return found
