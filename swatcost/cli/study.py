"""`swatcost study`: many simulations."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from swatcost.cli.options import MODELS, displaying, setting_options, shown
from swatcost.cli.output import Display
from swatcost.cli.progress import progress_bar, say
from swatcost.cli.simulate import ARCH
from swatcost.simulation.study import STUDYING, study


@click.command("study")
@MODELS
@setting_options(STUDYING)
@click.option("--paired", is_flag=True, help="Combine the first weights with the first acts, not each with each.")
@click.option("--shape", "shapes", multiple=True, metavar="S", help="Promotion shape, such as T2,5; repeatable.")
@ARCH
@shown("--seeds", "Random masks per setting.", 1, "N")
@click.option(
    "--record",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Append rows to FILE as they finish, and resume from it.",
)
@click.option("--scheduler", metavar="ADDRESS", help="Address of a Dask cluster, such as tcp://host:8786.")
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="Local processes.  [default: one per processor]")
@displaying
def command(
    models: tuple[str, ...],
    display: Display,
    record: Path | None,
    jobs: int | None,
    scheduler: str | None,
    **asked: Any,
) -> None:
    """Simulates every combination of models, sparsities, shapes and seeds.

    Example: swatcost study resnet50 --weights 0.8,0.9 --acts 0.8,0.9 --paired --shape T2,5 --shape L4,3 --seeds 5
    """
    bar: Any = None
    with ExitStack() as stack:

        def progress(done: int, of: int) -> None:
            nonlocal bar
            if bar is None:
                say(_announced(done, of, record, display.output, jobs, scheduler))
                bar = stack.enter_context(progress_bar(of, "study"))
            bar.update(done - bar.pos)

        rows = study(models, progress=progress, record=record, jobs=jobs, scheduler=scheduler, **asked)
    display.report("study", rows)


def _announced(
    done: int, of: int, record: Path | None, output: Path | None, jobs: int | None, scheduler: str | None
) -> str:
    """What the study is about to do, and where its rows go."""
    left, files = of - done, [str(each) for each in (record, output) if each]
    already = f" ({done} more in {record})" if done else ""
    processes = min(jobs or len(os.sched_getaffinity(0)), max(1, left))
    where = f"on {scheduler}" if scheduler else f"in {processes} process{'es' * (processes > 1)}"
    rows = f", rows to {' and '.join(files)}" if files else ""
    return f"{left} simulation{'s' * (left != 1)}{already} {where}{rows}"
