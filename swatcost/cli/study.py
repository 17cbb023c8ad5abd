"""`swatcost study`: many simulations."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from swatcost.cli.options import MODELS, displaying, setting_options, shown
from swatcost.cli.output import Display
from swatcost.cli.progress import LongWork
from swatcost.cli.simulate import ARCH, SIMULATED
from swatcost.cli.typed import no_difference
from swatcost.cli.unused import refuse_twice, say_unused
from swatcost.estimate import Estimate, estimate
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
    lists = {name: asked[name] for name in STUDYING.several}
    if not asked["paired"]:
        refuse_twice({**lists, "shapes": asked["shapes"]})
    if not any(len(each or ()) > 1 for each in lists.values()):
        no_difference("paired", "weights and acts have one value each")
    if scheduler is not None:
        no_difference("jobs", f"the processes are those of {scheduler}")
    with LongWork("study") as work:

        def progress(done: int, of: int) -> None:
            work.reached(done, of=of, sentence=_announced(done, of, record, display.output, jobs, scheduler))

        rows = study(models, progress=progress, record=record, jobs=jobs, scheduler=scheduler, **asked)
    say_unused(_largest(models, asked), SIMULATED)
    display.report("study", rows)


def _largest(models: tuple[str, ...], asked: dict[str, Any]) -> Iterator[Estimate]:
    """An estimate of each model at the largest sparsities."""
    settings = {name: value for name, value in asked.items() if name in STUDYING.options and value is not None}
    settings |= {name: max(settings[name]) for name in STUDYING.several if name in settings}
    return (estimate(each, **settings) for each in models)


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
