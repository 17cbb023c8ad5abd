"""Commands for architects: simulate a step on a sparse accelerator."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

import swatcost
from swatcost.cli.options import FORMAT, OUTPUT, form, model_options, show, shown, sparsity, unattended, width


@click.command()
@click.argument("model")
@sparsity("--weights", "Weight sparsity: the fraction of zeros, in [0, 1).")
@sparsity("--acts", "Activation sparsity, for grad_weight; by default as that of weights.")
@sparsity("--grads", "Sparsity of outputs' gradients, for meprop and dsg.")
@shown("--arch", "Architecture, or a .toml file; see `list architectures`.", "bit-tactical", "A")
@click.option("--shape", metavar="S", help="Promotion shape: T2,5, L4,3, or X8 for a full crossbar.")
@click.option(
    "--masks", default="gaussian", show_default=True, metavar="M",
    help="gaussian, random, a checkpoint, or a run's record (.jsonl).",
)  # fmt: skip
@shown("--filter-spread", "σ of gaussian filters' log-normal scales.", 0.0, "σ")
@shown("--seed", "Seed of the masks.", 0, "N")
@shown("--period", "Iterations between two Top-K selections.", 1000, "P")
@shown("--method", "What is sparse in which pass.", "swat", "M")
@shown("--distribution", "How sparsity is spread over layers.", "uniform", "D")
@click.option("--from", "source", metavar="FILE", help="What the distribution reads.")
@shown("--batch-size", "Samples in a training step.", 32, "N")
@click.option("--first-layer", type=click.Choice(["dense", "sparse"]), help="[default: as the distribution has it]")
@click.option("--last-layer", type=click.Choice(["dense", "sparse"]), help="[default: sparse]")
@click.option("--keep-dense", multiple=True, metavar="PATTERN", help="Layers that stay dense; repeatable.")
@click.option("--layers", is_flag=True, help="Also print a row for each layer and pass.")
@model_options
@FORMAT
@OUTPUT
def simulate(
    model: str,
    input_shape: tuple[int, ...] | None,
    input_dtype: str | None,
    classes: int | None,
    fresh: bool,
    arch: str,
    shape: str | None,
    masks: str,
    filter_spread: float,
    seed: int,
    keep_dense: tuple[str, ...],
    layers: bool,
    format: str | None,
    output: Path | None,
    **settings: Any,
) -> None:
    """Simulates a training step on a sparse accelerator, cycle by cycle.

    Example: swatcost simulate resnet50 --weights 0.9 --arch bit-tactical
    """
    from swatcost.accelerator.masks import MaskSource, from_checkpoint
    from swatcost.accelerator.simulation import simulate as simulated
    from swatcost.report.simulation import render

    network = swatcost.load(model, input_shape=input_shape, input_dtype=input_dtype, classes=classes, fresh=fresh)
    if settings["acts"] is None and settings["method"].startswith("swat") and settings["distribution"] == "uniform":
        settings["acts"] = settings["weights"]
    if masks in ("gaussian", "random"):
        chosen = MaskSource(kind=masks, seed=seed, filter_spread=filter_spread)  # type: ignore[arg-type]
    else:
        chosen = from_checkpoint(network, masks)
    with click.progressbar(
        length=len(network.counted_layers), label=model, file=sys.stderr, hidden=unattended(), item_show_func=str
    ) as bar:
        found = simulated(
            network,
            arch=arch,
            shape=shape,
            masks=chosen,
            keep_dense=keep_dense or None,
            progress=lambda layer: bar.update(1, layer),
            **settings,
        )
    show(render(found, form(format, output), layers=layers, width=width(output)), output)


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL…")
@click.option("--weights", required=True, metavar="S,S,…", help="Weight sparsities, with commas between them.")
@sparsity("--acts", "Activation sparsity; by default as that of weights.")
@click.option("--shape", "shapes", multiple=True, metavar="S", help="Promotion shape, such as T2,5; repeatable.")
@shown("--arch", "Architecture, or a .toml file.", "bit-tactical", "A")
@shown("--seeds", "Masks drawn for each setting.", 1, "N")
@shown("--method", "What is sparse in which pass.", "swat", "M")
@shown("--distribution", "How sparsity is spread over layers.", "uniform", "D")
@shown("--period", "Iterations between two Top-K selections.", 1000, "P")
@shown("--batch-size", "Samples in a training step.", 32, "N")
@click.option("--record", type=click.Path(path_type=Path), metavar="FILE", help="Write rows as they come; go on from.")
@click.option("--scheduler", metavar="ADDRESS", help="A Dask cluster's, such as tcp://host:8786.")
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="Local processes.  [default: one a processor]")
@FORMAT
@OUTPUT
def study(models: tuple[str, ...], weights: str, format: str | None, output: Path | None, **given: Any) -> None:
    """Simulates every combination of models, sparsities, shapes and seeds.

    Example: swatcost study resnet50 --weights 0.8,0.9 --shape T2,5 --shape L4,3 --seeds 5 --record study.jsonl
    """
    from swatcost.accelerator.study import study as studied
    from swatcost.errors import SwatcostError
    from swatcost.methods import checked_sparsity
    from swatcost.report.study import render

    try:
        numbers = [float(each) for each in weights.split(",")]
    except ValueError:
        raise SwatcostError(f"weights {weights!r:.60}: give fractions of zeros with commas, such as 0.8,0.9") from None
    sparsities = [checked_sparsity(each, "weights") for each in numbers]
    with click.progressbar(length=1, label="study", file=sys.stderr, hidden=unattended()) as bar:

        def progress(done: int, of: int) -> None:
            bar.length = of
            bar.update(done - bar.pos)

        rows = studied(models, weights=sparsities, progress=progress, **given)
    show(render(rows, form(format, output), width=width(output)), output)
