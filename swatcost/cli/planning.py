"""Commands that plan: sweep settings, solve for one, plan a whole run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

import swatcost
from swatcost.cli.completion import MODEL, OFFERED
from swatcost.cli.options import (
    COUNTS,
    FORMAT,
    FRACTIONS,
    NAMES,
    OUTPUT,
    CountType,
    FractionType,
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
from swatcost.cli.settings import detail_options, schedule_options
from swatcost.cli.waiting import waiting
from swatcost.common.errors import SwatcostError
from swatcost.common.files import write_bytes_atomically
from swatcost.devices import load_device
from swatcost.plots import save


def several(option: str, kind: click.ParamType[Any], help: str, default: str | None = None) -> Callable[..., Any]:
    """An option that takes values with commas between them."""
    return click.option(
        option, type=kind, default=default, show_default=default is not None, help=help,
        shell_complete=OFFERED.get(option),
    )  # fmt: skip


@click.command()
@MODEL
@several("--weights", FRACTIONS, "Weight sparsities.")
@several("--acts", FRACTIONS, "Activation sparsities, for the methods that have them.")
@several("--grads", FRACTIONS, "Sparsities of outputs' gradients, for meprop and dsg.")
@several("--period", COUNTS, "Iterations between two Top-K selections.", "1000")
@several("--method", NAMES, "What is sparse in which pass.", "swat")
@several("--distribution", NAMES, "How sparsity is spread over layers.", "uniform")
@several("--convention", NAMES, "How MACs are counted.", "swat")
@several("--device", NAMES, "Machine profiles, or .toml files.", "rtx2080ti")
@several("--batch-size", COUNTS, "Samples in a training step.", "32")
@click.option("--paired", is_flag=True, help="The first with the first, not each with each.")
@schedule_options
@plot_options("speedup against sparsity, a line for each combination of the other settings")
@model_options
@FORMAT
@OUTPUT
def sweep(
    model: str,
    loading: Loading,
    plot: Path | None,
    plot_size: str,
    format: str | None,
    output: Path | None,
    **settings: Any,
) -> None:
    """Estimates every combination of settings at once.

    Several values have commas between them, or are ranges FIRST:LAST:STEP. --output FILE.csv or FILE.parquet writes
    every column of every row.

    Example: swatcost sweep resnet50 --weights 0.5:0.95:0.05 --acts 0.5,0.8,0.9 --period 1,10,100,1k --method swat,rigl
    """
    from swatcost.report.sweep import render

    as_parquet = output is not None and output.suffix.lower() == ".parquet" and format is None
    network = loaded(model, **loading)
    with waiting("sweeping"):
        frame = swatcost.sweep(network, **settings)
    if plot is not None:
        from swatcost.plots import speedup_by_sparsity

        save(speedup_by_sparsity(frame, name=network.name, size=plot_size), plot)
    if as_parquet and output is not None:
        write_bytes_atomically(output, _parquet(frame))
    else:
        devices = [load_device(each) for each in settings["device"]]
        show(render(network, frame, form(format, output), devices=devices, width=width(output)), output)


def _parquet(frame: Any) -> bytes:
    try:
        content: bytes = frame.to_parquet(index=False)
    except ImportError:
        raise SwatcostError("Parquet needs pyarrow: pip install 'swatcost[parquet]'") from None
    return content


@click.command()
@MODEL
@click.option("--speedup", type=float, metavar="X", help="Goal: a training step so many times as fast as dense.")
@click.option("--training-flops", type=FractionType(), help="Goal: at most this share of dense training FLOPs.")
@click.option("--memory", metavar="MEMORY", help="Goal: a step's peak, compressed, within 11GB, 24GiB or a device.")
@click.option(
    "--top-k-overhead", "topk_overhead", type=FractionType(),
    help="Goal: what a Top-K adds to the sparse steps of its period; solves for the period.",
)  # fmt: skip
@sparsity("--weights", "Weight sparsity, if it is fixed.")
@sparsity("--acts", "Activation sparsity, if it is fixed.")
@sparsity("--grads", "Sparsity of outputs' gradients, if it is fixed.")
@click.option("--period", type=CountType(), help="Iterations between two Top-K.  [default: 1000, or looked for]")
@shown("--method", "What is sparse in which pass.", "swat", "M")
@shown("--distribution", "How sparsity is spread over layers.", "uniform", "D")
@shown("--convention", "How MACs are counted.", "swat", "C")
@shown("--device", "Machine profile, or a .toml file.", "rtx2080ti", "D")
@shown("--batch-size", "Samples in a training step.", 32, "N")
@shown("--optimizer", "sgd, momentum, adam or adamw; for --memory.", "momentum", "O")
@shown("--precision", "fp32, bf16, fp16 or mixed; for --memory.", "fp32", "P")
@schedule_options
@model_options
@FORMAT
@OUTPUT
def solve(
    model: str,
    loading: Loading,
    format: str | None,
    output: Path | None,
    **settings: Any,
) -> None:
    """Looks for the least sparse setting that reaches a goal.

    With several goals, all of them. Sparsities that are given are fixed and the others move together; where none is
    left to move, the period is looked for. A goal out of reach says what the limit is and exits with 1.

    Example: swatcost solve wide_resnet50_2 --speedup 3 --device rtx2080ti
    """
    from swatcost.planning.solution import solution
    from swatcost.report.solution import render

    network = loaded(model, **loading)
    with waiting("solving"):
        found = solution(network, **settings)
    show(render(found, form(format, output), width=width(output)), output)
    if not found.reached:
        click.get_current_context().exit(1)


@click.command()
@MODEL
@click.option(
    "--recipe", metavar="R", shell_complete=OFFERED["--recipe"],
    help="The paper's hyperparameters.  [default: the network's own, if it has any]",
)  # fmt: skip
@click.option(
    "--dataset", metavar="D", shell_complete=OFFERED["--dataset"],
    help="Whose samples an epoch has.  [default: the recipe's]",
)  # fmt: skip
@click.option("--samples", type=CountType(), help="Samples of an epoch, for a data set of your own.")
@click.option("--epochs", type=CountType(), help="[default: the recipe's]")
@click.option("--batch-size", type=CountType(), help="Samples of a step, all GPUs.  [default: the recipe's, or 32]")
@click.option("--gpus", type=CountType(), help="GPUs that share a batch.  [default: the recipe's, or 1]")
@sparsity("--weights", "Weight sparsity; without any sparsity, the dense run alone.")
@sparsity("--acts", "Activation sparsity.")
@sparsity("--grads", "Sparsity of outputs' gradients, for meprop and dsg.")
@click.option("--period", type=CountType(), help="Iterations between two Top-K.  [default: the recipe's, or 1000]")
@click.option(
    "--method", metavar="M", shell_complete=OFFERED["--method"],
    help="What is sparse in which pass.  [default: the recipe's, or swat]",
)  # fmt: skip
@shown("--distribution", "How sparsity is spread over layers.", "uniform", "D")
@shown("--convention", "How MACs are counted.", "swat", "C")
@shown("--device", "Machine profile, or a .toml file.", "rtx2080ti", "D")
@click.option("--watts", type=float, metavar="W", help="What a GPU draws.  [default: its board power]")
@shown("--pue", "The data centre's energy over that of its machines.", 1.0, "X")
@click.option("--grid", type=float, metavar="KG", help="kg CO₂ a kWh.  [default: 0.475, the world's mean of 2018]")
@click.option("--price", type=float, metavar="P", help="Of a GPU and hour.")
@shown("--currency", "What the price is in.", "USD", "C")
@click.option("--link", metavar="RATE", help="Bandwidth between GPUs, such as 25GB a second.")
@detail_options
@plot_options("the method's schedule over the run")
@model_options
@FORMAT
@OUTPUT
def plan(
    model: str,
    loading: Loading,
    format: str | None,
    output: Path | None,
    grid: float | None,
    plot: Path | None,
    plot_size: str,
    **settings: Any,
) -> None:
    """Plans a whole training run: iterations, FLOPs, hours, energy, money.

    Example: swatcost plan resnet50 --weights 0.8 --acts 0.8 --epochs 90 --dataset imagenet --batch-size 256 --gpus 8
    """
    from swatcost.planning.run_plan import WORLD_GRID, plan_run
    from swatcost.report.run_plan import render

    network = loaded(model, **loading)
    found = plan_run(network, grid=WORLD_GRID if grid is None else grid, **settings)
    if plot is not None:
        from swatcost.plots import schedule_over_run

        save(schedule_over_run(found, size=plot_size), plot)
    show(render(found, form(format, output), width=width(output)), output)
