"""Options and output that commands share."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from swatcost.files import write_atomically
from swatcost.plots import SIZES, check_path
from swatcost.report import FORMATS

_UNATTENDED_WIDTH = 80
_SUFFIXES = {".json": "json", ".csv": "csv", ".md": "markdown", ".tex": "latex"}

Decorator = Callable[[Callable[..., None]], Callable[..., None]]


class SparsityType(click.ParamType[float]):
    """A fraction of zeros; its range is the library's to check."""

    name = "S"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is no number: give the fraction of zeros, such as 0.8.", param, ctx)


class ShapeOfSample(click.ParamType[tuple[int, ...]]):
    """Whole numbers with commas between them."""

    name = "C,H,W"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(size) for size in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is no shape: give whole numbers with commas, such as 3,224,224.", param, ctx)


class PlotPath(click.ParamType[Path]):
    """A file that a plot can be saved in."""

    name = "FILE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(value)
        check_path(path)
        return path


def sparsity(option: str, help: str) -> Decorator:
    """An option that takes a fraction of zeros."""
    return click.option(option, type=SparsityType(), help=help)


def shown(option: str, help: str, default: str | float, metavar: str) -> Decorator:
    """An option whose default the help shows."""
    return click.option(option, default=default, type=type(default), metavar=metavar, show_default=True, help=help)


def model_options(command: Callable[..., None]) -> Callable[..., None]:
    """How MODEL is loaded."""
    for option in (
        click.option("--fresh", is_flag=True, help="Trace anew, whatever was traced before."),
        click.option("--input-dtype", metavar="T", help="Type of the input's numbers, such as int64."),
        click.option("--input-shape", type=ShapeOfSample(), help="Shape of one sample, if not the network's own."),
        click.option("--classes", type=int, metavar="N", help="Number of classes, if not the network's own."),
    ):
        command = option(command)
    return command


FORMAT = click.option(
    "--format", type=click.Choice(FORMATS), help="[default: by the ending of --output, or else table]"
)
OUTPUT = click.option(
    "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write there, not to the screen."
)

_PLOT_SIZE = click.option(
    "--plot-size", type=click.Choice(list(SIZES)), default="screen", show_default=True,
    help="Width of the plot: 8 in for a screen, 3.5 in for a paper's column.",
)  # fmt: skip


def plot_options(what: str) -> Decorator:
    """--plot, whose file is looked at before anything is computed, and --plot-size."""
    plot = click.option(
        "--plot", type=PlotPath(), metavar="FILE", help=f"Draw {what}, as .png, .svg or .pdf; needs matplotlib."
    )
    return lambda command: plot(_PLOT_SIZE(command))


def form(format: str | None, output: Path | None) -> str:
    """The output form that was asked for, or that the file's ending says."""
    return format or (_SUFFIXES.get(output.suffix, "table") if output else "table")


def width(output: Path | None) -> int:
    """Columns to print in: the terminal's, or what COLUMNS says, or 80."""
    attended = output is None and sys.stdout is not None and sys.stdout.isatty()
    return max(40, shutil.get_terminal_size().columns) if attended or "COLUMNS" in os.environ else _UNATTENDED_WIDTH


def show(text: str, output: Path | None) -> None:
    """Prints, or writes to a file."""
    if output is None:
        click.echo(text, nl=False)
    else:
        write_atomically(output, text)


def unattended() -> bool:
    """Whether nobody looks at a progress bar: standard error is no terminal."""
    return sys.stderr is None or not sys.stderr.isatty()
