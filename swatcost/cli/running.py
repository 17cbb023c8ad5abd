"""Commands that run a network: train it by the reference, and hold the model against what it does."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from swatcost.cli.completion import MODEL, OFFERED
from swatcost.cli.defaults import forget_defaults
from swatcost.cli.options import (
    FIRST_LAYER,
    FORMAT,
    FROM,
    KEEP_DENSE,
    LAST_LAYER,
    OUTPUT,
    CountType,
    ShapeOfSample,
    form,
    show,
    shown,
    sparsity,
    together,
    width,
)
from swatcost.cli.waiting import unattended
from swatcost.common.errors import SwatcostError
from swatcost.report import FORMATS

if TYPE_CHECKING:
    from swatcost.reference.training import Progress

_RECORD = "swatcost-run.jsonl"
_INTERRUPTED = 130  # the exit code of a program that was interrupted


_PRINTED = click.option("--format", type=click.Choice(FORMATS), default="table", help="How the outcome is printed.")
_SPARSE = together(
    sparsity("--weights", "Weight sparsity: the fraction of zeros, in [0, 1)."),
    sparsity("--acts", "Activation sparsity; by default as the distribution has it, or 0."),
    sparsity("--grads", "Sparsity of outputs' gradients, for meprop."),
    shown("--method", "dense, swat, swat-structured, saw or meprop.", "swat", "M"),
    shown("--distribution", "How sparsity is spread over layers; see `list distributions`.", "uniform", "D"),
    FROM,
    FIRST_LAYER,
    LAST_LAYER,
    KEEP_DENSE,
    click.option("--over", metavar="DIMS", help="What a threshold spans: nchw, chw, hw, kernel or random (Figure 9)."),
    shown(
        "--selection",
        "How a threshold is found: exact, kthvalue, topk, sort, partition, radix, sampled, histogram.",
        "exact",
        "S",
    ),
    click.option("--one-sample", is_flag=True, help="Find activations' thresholds on the first sample (A.4)."),
    shown("--ahead", "Start each selection so many iterations early (A.4).", 0, "N"),
)
_RUNS = together(
    click.option("--input-shape", type=ShapeOfSample(), help="Shape of one sample, if not the network's own."),
    click.option("--classes", type=CountType(), metavar="N", help="Number of classes, if not the network's own."),
    shown("--seed", "Of initial weights and the order of samples.", 0, "N"),
)


@click.command(context_settings={"show_default": False})
@click.argument("model", required=False, shell_complete=OFFERED["model"])
@_SPARSE
@shown("--period", "Iterations between two Top-K selections.", 100, "P")
@click.option("--steps", type=CountType(), metavar="N", help="Length of the run in training steps.")
@click.option("--epochs", type=float, metavar="N", help="Length of the run in epochs.  [default: 5]")
@shown("--data", "digits, synthetic, a folder of images by class, or an .npz file.", "digits", "D")
@shown("--batch-size", "Samples in a training step.", 64, "N")
@shown("--lr", "Learning rate; a tenth after one and two thirds of the run.", 0.05, "R")
@shown("--momentum", "Of SGD.", 0.9, "M")
@shown("--weight-decay", "Of SGD.", 5e-4, "W")
@_RUNS
@click.option("--on", type=click.Choice(["cpu", "cuda"]), default="cpu", help="Where to run.  [default: cpu]")
@click.option(
    "--record-every",
    type=CountType(),
    metavar="N",
    help="Measure layers in every N-th step.  [default: a twentieth of the run]",
)
@click.option("--resume", type=click.Path(path_type=Path), metavar="FILE", help="Go on with an interrupted run.")
@_PRINTED
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help=f"The record.  [default: {_RECORD}]")
def run(
    model: str | None,
    resume: Path | None,
    output: Path | None,
    format: str,
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
    if model is None and resume is None:
        raise SwatcostError("name a MODEL to train, or a record to go on with: --resume FILE")
    from swatcost.common.record import read_record
    from swatcost.reference import training
    from swatcost.reference.interruptions import StoppedError
    from swatcost.reference.run_settings import Settings, epochs_to_steps, settings_of
    from swatcost.report.run import render

    if resume is not None:
        _only_resume()
        settings = settings_of(read_record(resume).header, resume)
        record = resume
    else:
        assert model is not None
        if steps is not None and epochs is not None:
            raise SwatcostError("give --steps or --epochs, not both")
        settings = Settings(model=model, steps=1 if steps is None else steps, learning_rate=lr, **given)
        if steps is None:
            settings = epochs_to_steps(settings, 5 if epochs is None else epochs)
        record = output or Path(_RECORD)
        if record.suffix != ".jsonl":
            raise SwatcostError(f"{record}: a record is JSON lines, name it .jsonl")
    with click.progressbar(
        length=settings.steps, label=settings.model, file=sys.stderr, hidden=unattended(), item_show_func=_said
    ) as bar:

        def report(progress: Progress) -> None:
            bar.update(progress.done - bar.pos, progress)

        try:
            done = training.resume(record, report) if resume else training.run(settings, record, report)
        except StoppedError as stopped:
            click.echo(f"swatcost: interrupted {stopped}; go on with: swatcost run --resume {record}", err=True)
            click.get_current_context().exit(_INTERRUPTED)
    show(render(done, format, width=width(None)), None)


def _only_resume() -> None:
    """A run that is gone on with has its settings in the record."""
    context = click.get_current_context()
    source = click.core.ParameterSource.COMMANDLINE
    own = ("resume", "format")
    given = [name for name in context.params if name not in own and context.get_parameter_source(name) == source]
    if given:
        name = next(each.opts[-1] for each in context.command.params if each.name == given[0])
        name = "MODEL" if given[0] == "model" else name
        raise SwatcostError(f"{name}: a run that is gone on with keeps its settings, leave it out")
    forget_defaults()


def _said(progress: Progress | None) -> str | None:
    """What stands behind the bar."""
    if progress is None:
        return None
    return (
        f"loss {progress.loss:.3f}, accuracy {100 * progress.accuracy:.0f} %, "
        f"zeros {100 * progress.weight_sparsity:.1f} % w {100 * progress.act_sparsity:.1f} % a"
    )


@click.command()
@MODEL
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

    with click.progressbar(length=given["steps"], label=model, file=sys.stderr, hidden=unattended()) as bar:
        found = validated(model, learning_rate=lr, progress=lambda step: bar.update(1), **given)
    show(render(found, form(format, output), layers=layers, width=width(output)), output)


@click.command()
@shown("--name", "What the profile is called.", "this-machine", "NAME")
@click.option(
    "--network", "networks", shell_complete=OFFERED["--network"], multiple=True, metavar="MODEL",
    help="Networks whose dense step is measured; repeatable.  [default: cifar_resnet18, cifar_densenet121, "
    "cifar_wrn_16_8]",
)  # fmt: skip
@click.option(
    "--unseen", shell_complete=OFFERED["--unseen"], multiple=True, metavar="MODEL",
    help="Networks to predict without having measured them; repeatable.  [default: cifar_vgg16]",
)  # fmt: skip
@shown("--batch-size", "Samples in a step.", 8, "N")
@click.option("--on", type=click.Choice(["cpu", "cuda"]), default="cpu", help="What to measure.  [default: cpu]")
@click.option("--instructions/--no-instructions", default=True, help="Count numpy.partition's instructions (Table 9).")
@_PRINTED
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the profile there (.toml).")
def calibrate(
    networks: tuple[str, ...],
    unseen: tuple[str, ...],
    instructions: bool,
    format: str,
    output: Path | None,
    **given: Any,
) -> None:
    """Measures this machine and writes a profile that --device takes everywhere.

    Dense steps, rates, and what Top-K costs by algorithm and array size; what the profile predicts beside what is
    measured, for a network, too, that it was not fitted to. A minute or two, on a machine that does nothing else.

    Example: swatcost calibrate --output mine.toml; swatcost resnet50 --weights 0.8 --acts 0.8 --device mine.toml
    """
    if output is not None and output.suffix != ".toml":
        raise SwatcostError(f"{output}: a profile is a .toml file")
    from swatcost.common.files import write_atomically
    from swatcost.devices import to_toml
    from swatcost.reference import calibration
    from swatcost.report.calibration import render

    chosen = networks or ("cifar_resnet18", "cifar_densenet121", "cifar_wrn_16_8")
    others = tuple(each for each in unseen or ("cifar_vgg16",) if each not in chosen)
    length = calibration.stages(chosen, others, instructions, given["on"])
    with click.progressbar(
        length=length, label="measuring", file=sys.stderr, hidden=unattended(), item_show_func=str
    ) as bar:
        found = calibration.calibrate(
            networks=chosen,
            unseen=others,
            count_instructions=instructions,
            progress=lambda stage: bar.update(1, stage),
            **given,
        )
    if output is not None:
        write_atomically(output, to_toml(found.device))
    show(render(found, format, width=width(None)), None)
