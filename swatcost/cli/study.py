"""`swatcost study`: many simulations."""

from pathlib import Path
from typing import Any

import click

from swatcost.cli.options import MODELS, displaying, setting_options, shown
from swatcost.cli.output import Display
from swatcost.cli.progress import progress_bar
from swatcost.cli.simulate import ARCH
from swatcost.simulation.study import STUDYING, study


@click.command("study")
@MODELS
@setting_options(STUDYING)
@click.option("--paired", is_flag=True, help="The first weights with the first acts, not each with each.")
@click.option("--shape", "shapes", multiple=True, metavar="S", help="Promotion shape, such as T2,5; repeatable.")
@ARCH
@shown("--seeds", "Masks drawn for each setting.", 1, "N")
@click.option("--record", type=click.Path(path_type=Path), metavar="FILE", help="Write rows as they come; resume it.")
@click.option("--scheduler", metavar="ADDRESS", help="A Dask cluster's, such as tcp://host:8786.")
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="Local processes.  [default: one per processor]")
@displaying
def command(models: tuple[str, ...], display: Display, **asked: Any) -> None:
    """Simulates every combination of models, sparsities, shapes and seeds.

    Example: swatcost study resnet50 --weights 0.8,0.9 --acts 0.8,0.9 --paired --shape T2,5 --shape L4,3 --seeds 5
    """
    with progress_bar(1, "study") as bar:

        def progress(done: int, of: int) -> None:
            bar.length = of
            bar.update(done - bar.pos)

        rows = study(models, progress=progress, **asked)
    display.report("study", rows)
