"""`swatcost validate`: the model's numbers against executed steps."""

from typing import Any

import click

from swatcost.cli.config import forget_defaults
from swatcost.cli.options import LAYERS, MODEL, reporting, setting_options, shown
from swatcost.cli.progress import LongWork, progress_bar
from swatcost.cli.run import REFERENCE, data_option
from swatcost.cli.typed import typed
from swatcost.cli.unused import say_unused
from swatcost.common.errors import SwatcostError
from swatcost.common.result import Result
from swatcost.reference.scopes import TIMING, VALIDATING, VALIDATING_OR_TIMING
from swatcost.unused import RULES

_NOT_TIMED = {
    "steps": TIMING.without["steps"],
    "data": "times do not depend on data, leave it out",
    "lr": "times do not depend on it, leave it out",
    "bound": "it is a bound on differences in MACs, leave it out",
    "over": "predicted times are those of one threshold per tensor, leave it out",
    "ahead": "a selection that starts early takes as long, leave it out",
}
"""Why options make no sense with --time."""

_ONLY_TIMED = {
    "device": VALIDATING.without["device"].replace("leave it out", "give --time to compare times, or leave it out"),
    "repetitions": "steps are timed with --time, give it or leave this out",
    "kernels": "steps are timed with --time, give it or leave this out",
}
"""Why options make no sense without it."""


@click.command("validate")
@MODEL
@setting_options(VALIDATING_OR_TIMING)
@data_option("synthetic")
@shown("--lr", "Learning rate.", 0.05, "R")
@shown("--bound", "Relative difference above which causes are named.", 0.01, "B")
@REFERENCE
@click.option("--time", "times", is_flag=True, help="Compare times instead: predicted, and measured on this machine.")
@shown("--repetitions", "With --time: steps of each kind that are timed.", 5, "N")
@click.option(
    "--kernels",
    type=click.Choice(["auto", "dense"]),
    default="auto",
    help="With --time: also time steps on sparse kernels where --device has them faster, or not.  [default: auto]",
)
@LAYERS
@reporting
def command(model: str, layers: bool, times: bool, **asked: Any) -> Result:
    """Executes a few steps of Algorithm 1 and compares the model's numbers with measured ones.

    With --time, training steps are timed: dense ones, and if a sparsity is given masked ones and ones on sparse
    kernels, as a whole, by kind of operation and by layer, beside the times that --device predicts.

    Example: swatcost validate cifar_resnet18 --weights 0.8 --acts 0.8 --layers

    swatcost validate cifar_resnet18 --time --batch-size 16 --weights 0.8 --acts 0.8 --device mine.toml
    """
    refused = _NOT_TIMED if times else _ONLY_TIMED
    for name, option in typed().items():
        if name in refused:
            raise SwatcostError(f"{option}: {refused[name]}")
    forget_defaults(*refused)
    given = {name: value for name, value in asked.items() if name not in refused}
    return _timed(model, **given) if times else _counted(model, **given)


def _counted(model: str, lr: float, **asked: Any) -> Result:
    from swatcost.reference.validation import validate

    with progress_bar(asked["steps"], model) as bar:
        found = validate(model, learning_rate=lr, progress=lambda step: bar.update(1), **asked)
    say_unused([found.estimate], {"steps": lambda found: None, "selection": RULES["period"]})
    return found


def _timed(model: str, **asked: Any) -> Result:
    from swatcost.reference.time_validation import validate_time

    with LongWork(model) as work:

        def progress(done: int, of: int) -> None:
            work.reached(done, of=of, sentence=f"{of} steps of {model} on this machine's processor")

        found = validate_time(model, progress=progress, **asked)
    say_unused([found.estimate], {"selection": RULES["period"]})
    return found
