"""Commands that estimate: a network's cost, comparisons, memory, published tables, and what can be chosen."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

import swatcost
from swatcost.cli.completion import MODEL, MODELS, OFFERED
from swatcost.cli.defaults import forget_defaults
from swatcost.cli.options import (
    FORMAT,
    FROM,
    OUTPUT,
    Loading,
    form,
    loaded,
    model_options,
    plot_options,
    show,
    shown,
    sparsity,
    width,
)
from swatcost.cli.settings import estimate_options
from swatcost.cli.waiting import unattended, waiting
from swatcost.common.errors import SwatcostError
from swatcost.counting.conventions import DEFAULT_ACT_SPARSITY
from swatcost.plots import CHARTS, save
from swatcost.report import render

_CHARTS = "; ".join(f"{name}: {chart.title}" for name, chart in CHARTS.items())

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
  swatcost resnet50 --weights 0.8 --acts 0.8 --plot cost.png
  swatcost memory resnet50 --batch-size 32 --optimizer adam --fit 11GB
  swatcost report resnet50 --weights 0.8 --acts 0.8 --output report.html
  swatcost explore resnet50
  swatcost tables 3
  swatcost list models
"""


@click.command(hidden=True, epilog=EPILOG)
@MODEL
@estimate_options
@model_options
@click.option("--layers", is_flag=True, help="Also print a row for each layer.")
@plot_options("a chart")
@click.option("--chart", type=click.Choice(list(CHARTS)), help=f"What --plot draws: {_CHARTS}.  [default: cost]")
@FORMAT
@OUTPUT
def estimate(
    model: str,
    loading: Loading,
    layers: bool,
    plot: Path | None,
    plot_size: str,
    chart: str | None,
    format: str | None,
    output: Path | None,
    **settings: Any,
) -> None:
    """Estimates what a network costs to train; the word `estimate` may be left out."""
    if chart is not None and plot is None:
        raise SwatcostError(f"--chart {chart}: name the file to draw it in, such as --plot {chart}.png")
    network = loaded(model, **loading)
    with waiting("estimating"):
        result = swatcost.estimate(network, **settings)
    if plot is not None:
        save(CHARTS[chart or "cost"](result, size=plot_size), plot)
    show(render(result, form(format, output), layers=layers, width=width(output)), output)


@click.command()
@MODEL
@model_options
@OUTPUT
def trace(model: str, output: Path | None, loading: Loading) -> None:
    """Traces a network and saves it as JSON, to be named as MODEL later."""
    show(loaded(model, **loading).to_json(), output)


@click.command()
@MODELS
@sparsity("--weights", "Target sparsity of whatever a method makes sparse.")
@sparsity("--acts", "Target for activations, if not that of weights.")
@sparsity("--grads", "Target for outputs' gradients, if not that of weights.")
@shown("--method", "The method that is laid out under every convention.", "rigl", "M")
@shown("--convention", "The convention that every method is laid out under.", "swat", "C")
@shown("--distribution", "How sparsity is spread over layers.", "uniform", "D")
@FROM
@shown("--period", "Iterations between two Top-K selections.", 1000, "P")
@shown("--device", "Machine profile, or a .toml file.", "rtx2080ti", "D")
@shown("--batch-size", "Samples in a training step.", 32, "N")
@shown("--default-act-sparsity", "Zeros that ReLU leaves, or a run's record.", str(DEFAULT_ACT_SPARSITY), "S")
@shown("--steps", "Training steps over which a method's schedule is averaged.", 32_000, "N")
@model_options
@FORMAT
@OUTPUT
def compare(
    models: tuple[str, ...],
    loading: Loading,
    format: str | None,
    output: Path | None,
    **settings: Any,
) -> None:
    """Lays methods side by side, and one method under every convention.

    With several models, every method on each of them. With two saved estimates (--format json), what changed from the
    first to the second, layer by layer.

    Example: swatcost compare resnet50 --weights 0.8
    """
    from swatcost.planning import compare as compared
    from swatcost.planning import compare_networks, difference
    from swatcost.planning.difference import is_saved_estimate
    from swatcost.report.comparison import render as render_comparison
    from swatcost.report.comparison import render_networks
    from swatcost.report.difference import render as render_difference

    how: dict[str, Any] = {"format": form(format, output), "width": width(output)}
    saved = [is_saved_estimate(each) for each in models]
    if any(saved):
        if len(models) != 2 or not all(saved):
            one = models[saved.index(True)]
            others = ", ".join(each for each, is_saved in zip(models, saved, strict=True) if not is_saved)
            beside = f", {others} {'are' if ',' in others else 'is'} none" if others else ""
            raise SwatcostError(f"{one} is a saved estimate{beside}: give two of them to compare")
        forget_defaults()
        show(render_difference(difference(*models), **how), output)
        return
    networks = [loaded(each, **loading) for each in models]
    if len(networks) > 1:
        settings.pop("method")
        with waiting("comparing"):
            several = compare_networks(networks, **settings)
        show(render_networks(several, **how), output)
    else:
        with waiting("comparing"):
            comparison = compared(networks[0], **settings)
        show(render_comparison(comparison, **how), output)


@click.command()
@MODEL
@shown("--batch-size", "Samples in a training step.", 32, "N")
@shown("--optimizer", "sgd, momentum, adam or adamw.", "momentum", "O")
@shown("--precision", "fp32, bf16, fp16, or mixed (with master weights).", "fp32", "P")
@sparsity("--weights", "Weight sparsity, for the sparse views.")
@sparsity("--acts", "Activation sparsity.")
@sparsity("--grads", "Sparsity of outputs' gradients, for meprop and dsg.")
@shown("--method", "What is sparse in which pass.", "swat", "M")
@shown("--distribution", "How sparsity is spread over layers.", "uniform", "D")
@FROM
@click.option(
    "--fit", metavar="MEMORY", shell_complete=OFFERED["--fit"],
    help="The largest batch in so much memory: 11GB, 24GiB, or a device.",
)  # fmt: skip
@click.option("--link", metavar="RATE", help="Time of moving saved tensors to the host, at so much a second: 16GB.")
@plot_options("memory over the step")
@model_options
@FORMAT
@OUTPUT
def memory(
    model: str,
    loading: Loading,
    batch_size: int,
    optimizer: str,
    precision: str,
    fit: str | None,
    link: str | None,
    plot: Path | None,
    plot_size: str,
    format: str | None,
    output: Path | None,
    **settings: Any,
) -> None:
    """Shows what a training step holds in memory, its peak, and what sparsity spares.

    Example: swatcost memory resnet50 --batch-size 32 --optimizer adam --fit 11GB
    """
    from swatcost.planning import memory_of
    from swatcost.plots import memory_timeline
    from swatcost.report.memory import render as render_memory

    network = loaded(model, **loading)
    found = memory_of(
        network, batch_size=batch_size, optimizer=optimizer, precision=precision, fit=fit, link=link, **settings
    )
    if plot is not None:
        save(memory_timeline(found.memory.dense, network.name, size=plot_size), plot)
    show(render_memory(found, form(format, output), width=width(output)), output)


@click.command()
@click.argument("table", default="all", shell_complete=OFFERED["table"])
@plot_options("accuracy lost against training FLOPs saved")
@FORMAT
@OUTPUT
def tables(table: str, plot: Path | None, plot_size: str, format: str | None, output: Path | None) -> None:
    """Published numbers beside what the program gives: TABLE is 2, 3, 4, 5, 7, 8, 10, RigL, … or all.

    --plot draws what Tables 2, 3, 4 and 5 say of accuracy and reduction, a panel for each network; the paper's
    Figure 6 is the panel ResNet-50 of Table 3.

    Example: swatcost tables 3 --plot figure6.pdf
    """
    from swatcost.plots import accuracy_by_reduction, check_accuracies
    from swatcost.published import cells, reproduce
    from swatcost.report.published import render as render_published

    asked = cells(table)
    if plot is not None:
        check_accuracies(asked)
    length = len(asked)
    with click.progressbar(reproduce(table), length, "computing", file=sys.stderr, hidden=unattended()) as bar:
        found = list(bar)
    if plot is not None:
        save(accuracy_by_reduction(found, size=plot_size), plot)
    show(render_published(found, form(format, output), width=width(output)), output)


@click.command("list")
@click.argument(
    "what", type=click.Choice(["models", "methods", "distributions", "conventions", "devices", "architectures"])
)
def list_choices(what: str) -> None:
    """Lists what can be chosen by name."""
    from swatcost.report.choices import choices

    click.echo(choices(what, width=width(None)))
