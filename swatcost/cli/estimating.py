"""Commands that estimate: a network's cost, comparisons, memory, published tables, and what can be chosen."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

import swatcost
from swatcost.cli.options import FORMAT, OUTPUT, form, model_options, show, shown, sparsity, unattended, width
from swatcost.conventions import DEFAULT_ACT_SPARSITY
from swatcost.report import render

EPILOG = """\b
Examples:
  swatcost resnet50 --weights 0.8 --acts 0.8 --period 1000
  swatcost resnet50 --weights 0.9 --acts 0.9 --convention exact --layers
  swatcost cifar_vgg16 --weights 0.9 --acts 0.9 --period 1 --batch-size 128 --output vgg.json
  swatcost trace resnet50 --output mine.json; swatcost mine.json --weights 0.8
  swatcost my_network.py:build --input-shape 3,64,64 --weights 0.8
  swatcost compare resnet50 --weights 0.8
  swatcost run cifar_resnet18 --weights 0.8 --acts 0.8 --period 100 --epochs 5
  swatcost validate cifar_resnet18 --weights 0.8 --acts 0.8
  swatcost simulate resnet50 --weights 0.9 --arch bit-tactical
  swatcost memory resnet50 --batch-size 32 --optimizer adam --fit 11GB
  swatcost report resnet50 --weights 0.8 --acts 0.8 --output report.html
  swatcost explore resnet50
  swatcost tables 3
  swatcost list models
"""


def estimate_options(command: Callable[..., None]) -> Callable[..., None]:
    """What an estimate is asked for, apart from the network."""
    options = (
        sparsity("--weights", "Weight sparsity: the fraction of zeros, in [0, 1)."),
        sparsity("--acts", "Activation sparsity; by default as the distribution has it, or 0."),
        sparsity("--grads", "Sparsity of outputs' gradients, for meprop and dsg."),
        shown("--period", "Iterations between two Top-K selections.", 1000, "P"),
        shown("--method", "What is sparse in which pass; see `swatcost list methods`.", "swat", "M"),
        shown("--distribution", "How sparsity is spread over layers; see `list distributions`.", "uniform", "D"),
        shown("--convention", "How MACs are counted; see `swatcost list conventions`.", "swat", "C"),
        shown("--device", "Machine profile, or a .toml file; see `swatcost list devices`.", "rtx2080ti", "D"),
        shown("--batch-size", "Samples in a training step.", 32, "N"),
        click.option(
            "--from",
            "source",
            metavar="FILE",
            help="What the distribution reads: a table, a checkpoint, a run's record.",
        ),
        shown("--default-act-sparsity", "Zeros that ReLU leaves, or a run's record.", str(DEFAULT_ACT_SPARSITY), "S"),
        shown("--steps", "Training steps over which a method's schedule is averaged.", 32_000, "N"),
        click.option(
            "--first-layer", type=click.Choice(["dense", "sparse"]), help="[default: as the distribution has it]"
        ),
        click.option("--last-layer", type=click.Choice(["dense", "sparse"]), help="[default: sparse]"),
        click.option(
            "--keep-dense",
            multiple=True,
            metavar="PATTERN",
            help="Layers to keep dense, such as '*.downsample.*'; repeatable.",
        ),
        click.option(
            "--selection", metavar="A", help="Find thresholds by another algorithm that the device was timed with."
        ),
        click.option("--one-sample", is_flag=True, help="Find activations' thresholds on one sample (A.4)."),
        click.option("--hide-topk", "hidden", is_flag=True, help="Run selections beside training (A.4)."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command(hidden=True, epilog=EPILOG)
@click.argument("model")
@estimate_options
@model_options
@click.option("--layers", is_flag=True, help="Also print a row for each layer.")
@FORMAT
@OUTPUT
def estimate(
    model: str,
    input_shape: tuple[int, ...] | None,
    input_dtype: str | None,
    classes: int | None,
    fresh: bool,
    layers: bool,
    format: str | None,
    output: Path | None,
    **settings: Any,
) -> None:
    """Estimates what a network costs to train; the word `estimate` may be left out."""
    network = swatcost.load(model, input_shape=input_shape, input_dtype=input_dtype, classes=classes, fresh=fresh)
    result = swatcost.estimate(network, **settings)
    show(render(result, form(format, output), layers=layers, width=width(output)), output)


@click.command()
@click.argument("model")
@model_options
@OUTPUT
def trace(model: str, output: Path | None, **source: Any) -> None:
    """Traces a network and saves it as JSON, to be named as MODEL later."""
    show(swatcost.load(model, **source).to_json(), output)


@click.command()
@click.argument("model")
@sparsity("--weights", "Target sparsity of whatever a method makes sparse.")
@sparsity("--acts", "Target for activations, if not that of weights.")
@sparsity("--grads", "Target for outputs' gradients, if not that of weights.")
@shown("--method", "The method that is laid out under every convention.", "rigl", "M")
@shown("--convention", "The convention that every method is laid out under.", "swat", "C")
@shown("--distribution", "How sparsity is spread over layers.", "uniform", "D")
@click.option(
    "--from", "source", metavar="FILE", help="What the distribution reads: a table, a checkpoint, a run's record."
)
@shown("--period", "Iterations between two Top-K selections.", 1000, "P")
@shown("--device", "Machine profile, or a .toml file.", "rtx2080ti", "D")
@shown("--batch-size", "Samples in a training step.", 32, "N")
@shown("--default-act-sparsity", "Zeros that ReLU leaves, or a run's record.", str(DEFAULT_ACT_SPARSITY), "S")
@shown("--steps", "Training steps over which a method's schedule is averaged.", 32_000, "N")
@model_options
@FORMAT
@OUTPUT
def compare(
    model: str,
    input_shape: tuple[int, ...] | None,
    input_dtype: str | None,
    classes: int | None,
    fresh: bool,
    format: str | None,
    output: Path | None,
    **settings: Any,
) -> None:
    """Lays methods side by side, and one method under every convention.

    Example: swatcost compare resnet50 --weights 0.8
    """
    from swatcost.planning import compare as compared
    from swatcost.report.comparison import render as render_comparison

    network = swatcost.load(model, input_shape=input_shape, input_dtype=input_dtype, classes=classes, fresh=fresh)
    comparison = compared(network, **settings)
    show(render_comparison(comparison, form(format, output), width=width(output)), output)


@click.command()
@click.argument("model")
@shown("--batch-size", "Samples in a training step.", 32, "N")
@shown("--optimizer", "sgd, momentum, adam or adamw.", "momentum", "O")
@shown("--precision", "fp32, bf16, fp16, or mixed (with master weights).", "fp32", "P")
@sparsity("--weights", "Weight sparsity, for the sparse views.")
@sparsity("--acts", "Activation sparsity.")
@sparsity("--grads", "Sparsity of outputs' gradients, for meprop and dsg.")
@shown("--method", "What is sparse in which pass.", "swat", "M")
@shown("--distribution", "How sparsity is spread over layers.", "uniform", "D")
@click.option(
    "--from", "source", metavar="FILE", help="What the distribution reads: a table, a checkpoint, a run's record."
)
@click.option("--fit", metavar="MEMORY", help="The largest batch in so much memory: 11GB, 24GiB, or a device.")
@click.option("--link", metavar="RATE", help="Time of moving saved tensors to the host, at so much a second: 16GB.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw the step, as .png, .svg or .pdf.")
@model_options
@FORMAT
@OUTPUT
def memory(
    model: str,
    input_shape: tuple[int, ...] | None,
    input_dtype: str | None,
    classes: int | None,
    fresh: bool,
    batch_size: int,
    optimizer: str,
    precision: str,
    fit: str | None,
    link: str | None,
    plot: Path | None,
    format: str | None,
    output: Path | None,
    **settings: Any,
) -> None:
    """Shows what a training step holds in memory, its peak, and what sparsity spares.

    Example: swatcost memory resnet50 --batch-size 32 --optimizer adam --fit 11GB
    """
    from swatcost.planning import memory_of
    from swatcost.report.memory import checked_plot
    from swatcost.report.memory import plot as draw
    from swatcost.report.memory import render as render_memory

    if plot is not None:
        checked_plot(plot)
    network = swatcost.load(model, input_shape=input_shape, input_dtype=input_dtype, classes=classes, fresh=fresh)
    found = memory_of(
        network, batch_size=batch_size, optimizer=optimizer, precision=precision, fit=fit, link=link, **settings
    )
    show(render_memory(found, form(format, output), width=width(output)), output)
    if plot is not None:
        draw(found.memory.dense, network.name, plot)


@click.command()
@click.argument("table", default="all")
@FORMAT
@OUTPUT
def tables(table: str, format: str | None, output: Path | None) -> None:
    """Published numbers beside what the program gives: TABLE is 2, 3, 4, 5, 7, 8, 10, RigL, … or all.

    Example: swatcost tables 3
    """
    from swatcost.published import cells, reproduce
    from swatcost.report.published import render as render_published

    length = len(cells(table))
    with click.progressbar(reproduce(table), length, "computing", file=sys.stderr, hidden=unattended()) as bar:
        found = list(bar)
    show(render_published(found, form(format, output), width=width(output)), output)


@click.command("list")
@click.argument(
    "what", type=click.Choice(["models", "methods", "distributions", "conventions", "devices", "architectures"])
)
def list_choices(what: str) -> None:
    """Lists what can be chosen by name."""
    from swatcost.report.choices import choices

    click.echo(choices(what, width=width(None)))
