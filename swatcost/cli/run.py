"""`swatcost run`: trains a network by Algorithm 1 and records every layer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from swatcost.cli.completion import models, offering
from swatcost.cli.config import forget_defaults
from swatcost.cli.options import CLASSES, INPUT_SHAPE, Decorator, printing, setting_options, shown, together
from swatcost.cli.output import Display
from swatcost.cli.parameter_types import CountType
from swatcost.cli.progress import LongWork, say
from swatcost.cli.typed import no_difference
from swatcost.common.errors import SwatcostError
from swatcost.distributions import DISTRIBUTIONS
from swatcost.methods import METHODS
from swatcost.reference.chosen_kernels import KERNEL_CHOICES
from swatcost.reference.scopes import RUNNING
from swatcost.report import FORMATS

if TYPE_CHECKING:
    from swatcost.reference.training import Progress

_RECORD = "swatcost-run.jsonl"
_INTERRUPTED = 130  # the exit code of a program that was interrupted

OUTCOME = click.option("--format", type=click.Choice(FORMATS), default="table", help="Output format.")
REFERENCE = together(
    click.option("--over", metavar="DIMS", help="Span of a threshold: nchw, chw, hw, kernel or random (Figure 9)."),
    shown("--ahead", "Start each selection this many iterations early (A.4).", 0, "N"),
    INPUT_SHAPE,
    CLASSES,
    shown("--seed", "Seed of initial weights and of the order of samples.", 0, "N"),
)
"""The options of the reference."""


def data_option(default: str) -> Decorator:
    """--data, with this default."""
    return shown(
        "--data", "digits, synthetic, a folder of images by class, or an .npz file.", default, "D",
        offering(lambda: ("digits", "synthetic"), files=True),
    )  # fmt: skip


@click.command("run", context_settings={"show_default": False})
@click.argument("model", required=False, shell_complete=offering(models, files=True))
@setting_options(RUNNING)
@click.option("--epochs", type=float, metavar="N", help="Length of the run in epochs.  [default: 5]")
@data_option("digits")
@shown("--lr", "Learning rate; divided by ten at one and two thirds of the run.", 0.05, "R")
@shown("--momentum", "Momentum of SGD.", 0.9, "M")
@shown("--weight-decay", "Weight decay of SGD.", 5e-4, "W")
@REFERENCE
@click.option("--on", type=click.Choice(["cpu", "cuda"]), default="cpu", help="Where to run.  [default: cpu]")
@click.option(
    "--kernels",
    type=click.Choice(KERNEL_CHOICES),
    default="dense",
    help="What computes sparse products: masked dense tensors, sparse kernels, or the faster of both by --device.  "
    "[default: dense]",
)
@click.option(
    "--record-every",
    type=CountType(),
    metavar="N",
    help="Measure layers every N steps.  [default: a twentieth of the run; at least 100 with sparse kernels]",
)
@click.option("--resume", type=click.Path(path_type=Path), metavar="FILE", help="Resume an interrupted run.")
@click.option(
    "--output", "record", type=click.Path(path_type=Path), metavar="FILE", help=f"The record.  [default: {_RECORD}]"
)
@OUTCOME
@printing
def command(
    model: str | None,
    resume: Path | None,
    record: Path | None,
    display: Display,
    epochs: float | None,
    lr: float,
    **asked: Any,
) -> None:
    """Trains a network by Algorithm 1 and records every layer: thresholds, sparsities, work, bytes, times.

    The record is JSON lines, the last checkpoint is beside it (.pt). An interrupted run keeps both. Estimates read the
    record: --distribution momentum --from RECORD, --distribution file --from RECORD, --default-act-sparsity RECORD.

    Example: swatcost run cifar_resnet18 --input-shape 3,8,8 --weights 0.8 --acts 0.8 --epochs 5
    """
    if model is None and resume is None:
        raise SwatcostError("name a MODEL to train, or a record to resume: --resume FILE")
    from swatcost.common.record import read_record
    from swatcost.reference import training
    from swatcost.reference.interruptions import StoppedError
    from swatcost.reference.run_data import settings_of_length
    from swatcost.reference.run_settings import settings_of

    if resume is not None:
        _only_resume()
        settings = settings_of(read_record(resume).header, resume)
        record = resume
    else:
        assert model is not None
        settings = settings_of_length(epochs, model=model, learning_rate=lr, **asked)
        record = record or Path(_RECORD)
        if record.suffix != ".jsonl":
            raise SwatcostError(f"{record}: a record is JSON lines, name it .jsonl")
    asked_sparse = settings.weights or settings.acts or settings.grads
    if resume is None and not (asked_sparse or DISTRIBUTIONS.choose(settings.distribution).measured):
        for name in ("distribution", "period", "first_layer", "last_layer", "keep_dense", "dense_budget"):
            no_difference(name, "nothing is sparse")
    elif resume is None and not METHODS.choose(settings.method).selects:
        for name in ("period", "selection", "one_sample", "ahead"):
            no_difference(name, f"method {settings.method} selects nothing by Top-K")
    if resume is None and settings.kernels != "auto":
        no_difference("device", f"--kernels {settings.kernels} goes by no profile")
    steps = f"{settings.steps:,} step{'s' * (settings.steps > 1)} of {settings.model} on {settings.on}"
    sentence = f"{steps}, record to {record}, checkpoint to {record.with_suffix('.pt')}"
    with LongWork(settings.model, _described) as work:

        def begin() -> None:
            work.reached(0, of=settings.steps, sentence=sentence)

        def report(progress: Progress) -> None:
            work.reached(progress.done, progress, of=settings.steps, sentence=sentence)

        try:
            done = training.resume(record, report, begin) if resume else training.run(settings, record, report, begin)
        except StoppedError as stopped:
            say(f"interrupted {stopped}; resume with: swatcost run --resume {record}")
            click.get_current_context().exit(_INTERRUPTED)
    display.result(done)


def _only_resume() -> None:
    """Refuses other options: a resumed run has its settings in the record."""
    context = click.get_current_context()
    source = click.core.ParameterSource.COMMANDLINE
    own = ("resume", "format", "notes", "quiet")
    given = [name for name in context.params if name not in own and context.get_parameter_source(name) == source]
    if given:
        name = next(each.opts[-1] for each in context.command.params if each.name == given[0])
        name = "MODEL" if given[0] == "model" else name
        raise SwatcostError(f"{name}: a resumed run keeps its settings, leave it out")
    forget_defaults()


def _described(progress: Progress) -> str:
    """The text beside the bar."""
    return (
        f"loss {progress.loss:.3f}, accuracy {100 * progress.accuracy:.0f} %, "
        f"sparsity {100 * progress.weight_sparsity:.1f} % weights, {100 * progress.act_sparsity:.1f} % acts"
    )
