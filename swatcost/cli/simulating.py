"""Commands for architects: simulate a step on a sparse accelerator."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

import swatcost
from swatcost.cli.completion import MODEL, MODELS, OFFERED
from swatcost.cli.options import (
    FIRST_LAYER,
    FORMAT,
    FRACTIONS,
    FROM,
    KEEP_DENSE,
    LAST_LAYER,
    OUTPUT,
    Loading,
    form,
    loaded,
    model_options,
    show,
    shown,
    sparsity,
    together,
    width,
)
from swatcost.cli.waiting import unattended
from swatcost.report.numbers import scaled

sparsity_options = together(
    sparsity("--weights", "Weight sparsity: the fraction of zeros, in [0, 1)."),
    sparsity("--acts", "Activation sparsity, for grad_weight; by default as that of weights."),
    sparsity("--grads", "Sparsity of outputs' gradients, for meprop and dsg."),
    shown("--method", "What is sparse in which pass.", "swat", "M"),
    shown("--distribution", "How sparsity is spread over layers.", "uniform", "D"),
    FROM,
    FIRST_LAYER,
    LAST_LAYER,
    KEEP_DENSE,
)
"""What is made sparse."""


def _with_acts(settings: dict[str, Any]) -> dict[str, Any]:
    """Activations as sparse as weights, where a number for them was left out."""
    if settings["acts"] is None and settings["method"].startswith("swat") and settings["distribution"] == "uniform":
        settings["acts"] = settings["weights"]
    return settings


@click.command()
@MODEL
@sparsity_options
@shown("--arch", "Architecture, or a .toml file; see `list architectures`.", "bit-tactical", "A")
@click.option("--shape", metavar="S", help="Promotion shape: T2,5, L4,3, or X8 for a full crossbar.")
@click.option(
    "--masks", default="gaussian", show_default=True, metavar="M", shell_complete=OFFERED["--masks"],
    help="gaussian, random, a checkpoint, or a run's record (.jsonl).",
)  # fmt: skip
@shown("--filter-spread", "σ of gaussian filters' log-normal scales.", 0.0, "σ")
@shown("--seed", "Seed of the masks.", 0, "N")
@shown("--period", "Iterations between two Top-K selections.", 1000, "P")
@shown("--batch-size", "Samples in a training step.", 32, "N")
@click.option("--layers", is_flag=True, help="Also print a row for each layer and pass.")
@model_options
@FORMAT
@OUTPUT
def simulate(
    model: str,
    loading: Loading,
    arch: str,
    shape: str | None,
    masks: str,
    filter_spread: float,
    seed: int,
    layers: bool,
    format: str | None,
    output: Path | None,
    **settings: Any,
) -> None:
    """Simulates a training step on a sparse accelerator, cycle by cycle.

    Example: swatcost simulate resnet50 --weights 0.9 --arch bit-tactical
    """
    from swatcost.accelerator.masks import MaskSource, from_checkpoint
    from swatcost.report.simulation import render
    from swatcost.simulation.simulation import simulate as simulated

    network = loaded(model, **loading)
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
            progress=lambda layer: bar.update(1, layer),
            **_with_acts(settings),
        )
    show(render(found, form(format, output), layers=layers, width=width(output)), output)


@click.command()
@MODELS
@click.option("--weights", required=True, type=FRACTIONS, help="Weight sparsities: 0.8,0.9 or 50%:90%:10%.")
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
def study(models: tuple[str, ...], weights: list[float], format: str | None, output: Path | None, **given: Any) -> None:
    """Simulates every combination of models, sparsities, shapes and seeds.

    Example: swatcost study resnet50 --weights 0.8,0.9 --shape T2,5 --shape L4,3 --seeds 5 --record study.jsonl
    """
    from swatcost.methods import checked_sparsity
    from swatcost.report.study import render
    from swatcost.simulation.study import study as studied

    sparsities = [checked_sparsity(each, "weights") for each in weights]
    with click.progressbar(length=1, label="study", file=sys.stderr, hidden=unattended()) as bar:

        def progress(done: int, of: int) -> None:
            bar.length = of
            bar.update(done - bar.pos)

        rows = studied(models, weights=sparsities, progress=progress, **given)
    show(render(rows, form(format, output), width=width(output)), output)


@click.command()
@MODEL
@click.option(
    "--to", required=True, metavar="FORMAT", shell_complete=OFFERED["--to"],
    help="scalesim, zigzag, timeloop, maestro or csv.",
)  # fmt: skip
@sparsity_options
@shown("--batch-size", "Samples in the batch.", 1, "N")
@click.option(
    "--passes", type=click.Choice(["forward", "training"]), default="forward", show_default=True,
    help="training: grad_input and grad_weight too.",
)  # fmt: skip
@click.option("--bits", type=click.IntRange(1, 64), help="Bits of a value.  [default: the network's own]")
@model_options
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="PATH",
    help="The file or, for formats of several files, the new folder.  [default: the screen, or a folder by its name]",
)  # fmt: skip
def export(
    model: str,
    to: str,
    loading: Loading,
    passes: str,
    bits: int | None,
    output: Path | None,
    **settings: Any,
) -> None:
    """Writes a network's layers as files for another simulator.

    Example: swatcost export resnet50 --weights 0.8 --to scalesim --output resnet50-scalesim
    """
    from swatcost.counting.costs import PASSES
    from swatcost.exporting import EXPORTS
    from swatcost.exporting import export as exported

    format = EXPORTS[to]
    network = loaded(model, **loading)
    estimate = swatcost.estimate(network, **_with_acts(settings))
    found = exported(estimate, format, passes=PASSES if passes == "training" else ("forward",), bits=bits)
    if format.folder and output is None:
        output = Path(f"{network.name}-{format.name}".replace("/", "_"))
    if output is None:
        click.echo(next(iter(found.files.values())), nl=False)
    else:
        found.save(output)
    written = f" in {output}" if output else ""
    macs = sum(each.macs for each in found.workloads)
    click.echo(
        f"swatcost: {len(found.workloads)} layers and passes, {scaled(macs)} MACs, batch of "
        f"{estimate.batch_size}, {len(found.files)} file{'s' * (len(found.files) > 1)}{written}",
        err=True,
    )
    for note in found.notes:
        click.echo(f"swatcost: {note}", err=True)


@click.command("two-four")
@MODEL
@shown("--element", "Type of the numbers: float16, bfloat16, int8, float8 or float32.", "float16", "T")
@shown("--batch-size", "Samples in a training step.", 32, "N")
@click.option("--layers", is_flag=True, help="Also print a row for each layer and pass.")
@model_options
@FORMAT
@OUTPUT
def two_four(
    model: str,
    element: str,
    batch_size: int,
    layers: bool,
    loading: Loading,
    format: str | None,
    output: Path | None,
) -> None:
    """Says which layers and passes 2:4 sparsity fits, and what it gives at most.

    Example: swatcost two-four vit_b_16 --layers
    """
    from swatcost.report.two_four import render
    from swatcost.simulation.two_four import two_four as fitted

    network = loaded(model, **loading)
    found = fitted(network, element=element, batch_size=batch_size)
    show(render(found, form(format, output), layers=layers, width=width(output)), output)
