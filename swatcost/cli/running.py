"""Commands that run a network: train it by the reference, and hold the model against what it does."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from swatcost.cli.options import (
    FORMAT,
    OUTPUT,
    Decorator,
    ShapeOfSample,
    form,
    show,
    shown,
    sparsity,
    unseen,
    width,
)
from swatcost.errors import SwatcostError

if TYPE_CHECKING:
    from swatcost.reference.training import Progress

_RECORD = "swatcost-run.jsonl"
_INTERRUPTED = 130  # the exit code of a program that was interrupted


def _together(*options: Decorator) -> Decorator:
    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_SPARSE = _together(
    sparsity("--weights", "Weight sparsity: the fraction of zeros, in [0, 1)."),
    sparsity("--acts", "Activation sparsity; by default as the distribution has it, or 0."),
    sparsity("--grads", "Sparsity of outputs' gradients, for meprop."),
    shown("--method", "dense, swat, swat-structured, saw or meprop.", "swat", "M"),
    shown("--distribution", "How sparsity is spread over layers; see `list distributions`.", "uniform", "D"),
    click.option("--from", "source", metavar="FILE", help="What the distribution reads."),
    click.option("--first-layer", type=click.Choice(["dense", "sparse"]), help="[default: as the distribution has it]"),
    click.option("--last-layer", type=click.Choice(["dense", "sparse"]), help="[default: sparse]"),
    click.option("--keep-dense", multiple=True, metavar="PATTERN", help="Layers to keep dense; repeatable."),
    click.option("--over", metavar="DIMS", help="What a threshold spans: nchw, chw, hw, kernel or random (Figure 9)."),
    shown("--selection", "How a threshold is found: kthvalue, topk, sort, partition, radix, …", "kthvalue", "S"),
    click.option("--one-sample", is_flag=True, help="Find activations' thresholds on the first sample (A.4)."),
    shown("--ahead", "Start each selection so many iterations early (A.4).", 0, "N"),
)
_RUNS = _together(
    click.option("--input-shape", type=ShapeOfSample(), help="Shape of one sample, if not the network's own."),
    click.option("--classes", type=int, metavar="N", help="Number of classes, if not the network's own."),
    shown("--seed", "Of initial weights and the order of samples.", 0, "N"),
)


def _settings(given: dict[str, Any]) -> dict[str, Any]:
    return given | {"keep_dense": tuple(given["keep_dense"]) or None}


@click.command(context_settings={"show_default": False})
@click.argument("model", required=False)
@_SPARSE
@shown("--period", "Iterations between two Top-K selections.", 100, "P")
@click.option("--steps", type=int, metavar="N", help="Length of the run in training steps.")
@click.option("--epochs", type=float, metavar="N", help="Length of the run in epochs.  [default: 5]")
@shown("--data", "digits, synthetic, a folder of images by class, or an .npz file.", "digits", "D")
@shown("--batch-size", "Samples in a training step.", 64, "N")
@shown("--lr", "Learning rate; a tenth after one and two thirds of the run.", 0.05, "R")
@shown("--momentum", "Of SGD.", 0.9, "M")
@shown("--weight-decay", "Of SGD.", 5e-4, "W")
@_RUNS
@click.option("--on", type=click.Choice(["cpu", "cuda"]), default="cpu", help="Where to run.  [default: cpu]")
@click.option(
    "--record-every", type=int, metavar="N", help="Measure layers in every N-th step.  [default: 20 in a run]"
)
@click.option("--resume", type=click.Path(path_type=Path), metavar="FILE", help="Go on with an interrupted run.")
@FORMAT
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help=f"The record.  [default: {_RECORD}]")
def run(
    model: str | None,
    resume: Path | None,
    output: Path | None,
    format: str | None,
    steps: int | None,
    epochs: float | None,
    lr: float,
    **given: Any,
) -> None:
    """Trains a network by Algorithm 1 and records every layer: thresholds, sparsities, work, bytes, times.

    The record is JSON lines; beside it lies the last checkpoint (.pt). An interrupted run keeps both. The record gives
    plans: --distribution momentum --from RECORD, --distribution file --from RECORD, --default-act-sparsity RECORD.

    Example: swatcost run cifar_resnet18 --input-shape 3,8,8 --weights 0.8 --acts 0.8 --epochs 5
    """
    if (model is None) == (resume is None):
        raise SwatcostError("name a MODEL to train, or a record to go on with: --resume FILE")
    from swatcost.record import read_record
    from swatcost.reference import training
    from swatcost.reference.interruptions import StoppedError
    from swatcost.reference.settings import Settings, epochs_to_steps, settings_of
    from swatcost.report.run import render

    if resume is not None:
        _only_resume()
        settings = settings_of(read_record(resume).header, resume)
        record = resume
    else:
        assert model is not None
        if steps is not None and epochs is not None:
            raise SwatcostError("give --steps or --epochs, not both")
        settings = Settings(model=model, steps=1 if steps is None else steps, learning_rate=lr, **_settings(given))
        if steps is None:
            settings = epochs_to_steps(settings, 5 if epochs is None else epochs)
        record = output or Path(_RECORD)
        if record.suffix != ".jsonl":
            raise SwatcostError(f"{record}: a record is JSON lines, name it .jsonl")
    with click.progressbar(
        length=settings.steps, label=settings.model, file=sys.stderr, hidden=unseen(), item_show_func=_said
    ) as bar:

        def report(progress: Progress) -> None:
            bar.update(progress.done - bar.pos, progress)

        try:
            done = training.resume(record, report) if resume else training.run(settings, record, report)
        except StoppedError as stopped:
            click.echo(f"swatcost: interrupted {stopped}; go on with: swatcost run --resume {record}", err=True)
            click.get_current_context().exit(_INTERRUPTED)
    show(render(done, format or "table", width=width(None)), None)


def _only_resume() -> None:
    """A run that is gone on with has its settings in the record."""
    context = click.get_current_context()
    source = click.core.ParameterSource.COMMANDLINE
    own = ("resume", "format")
    given = [name for name in context.params if name not in own and context.get_parameter_source(name) == source]
    if given:
        raise SwatcostError(f"--{given[0].replace('_', '-')}: a resumed run keeps its settings, leave it out")


def _said(progress: Progress | None) -> str | None:
    """What stands behind the bar."""
    if progress is None:
        return None
    return (
        f"loss {progress.loss:.3f}, accuracy {100 * progress.accuracy:.0f} %, "
        f"zeros {100 * progress.weight_sparsity:.1f} % w {100 * progress.act_sparsity:.1f} % a"
    )


@click.command()
@click.argument("model")
@_SPARSE
@shown("--period", "Iterations between two Top-K selections.", 1000, "P")
@shown("--steps", "Training steps to execute.", 2, "N")
@shown("--batch-size", "Samples in a step.", 4, "N")
@shown("--data", "synthetic, digits, a folder of images by class, or an .npz file.", "synthetic", "D")
@shown("--lr", "Learning rate of the steps.", 0.05, "R")
@shown("--bound", "Relative difference from which on causes are named.", 0.01, "B")
@_RUNS
@click.option("--layers", is_flag=True, help="Also print a row for each layer.")
@FORMAT
@OUTPUT
def validate(model: str, layers: bool, format: str | None, output: Path | None, lr: float, **given: Any) -> None:
    """Executes a few steps by Algorithm 1 and lays the model's numbers beside what was measured.

    Example: swatcost validate cifar_resnet18 --weights 0.8 --acts 0.8 --layers
    """
    from swatcost.reference.validation import validate as validated
    from swatcost.report.validation import render

    with click.progressbar(length=given["steps"], label=model, file=sys.stderr, hidden=unseen()) as bar:
        found = validated(model, learning_rate=lr, progress=lambda step: bar.update(1), **_settings(given))
    show(render(found, form(format, output), layers=layers, width=width(output)), output)
