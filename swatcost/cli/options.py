"""Options and output that commands share."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from swatcost.cli.completion import OFFERED
from swatcost.cli.waiting import waiting
from swatcost.common.errors import SwatcostError
from swatcost.common.files import write_atomically
from swatcost.common.units import count_from, counts_from, fraction_from, fractions_from, names_from
from swatcost.loading.load import load
from swatcost.network import Network
from swatcost.plots import check_path
from swatcost.plots.canvas import SIZES
from swatcost.report import FORMATS

_UNATTENDED_WIDTH = 80
_OTHER_FILES = {".xlsx", ".xls", ".ods", ".html", ".htm", ".pdf", ".docx", ".png", ".svg", ".jpg", ".parquet", ".toml"}
_SUFFIXES = {".json": "json", ".csv": "csv", ".md": "markdown", ".tex": "latex"}

T = TypeVar("T")
Loading = dict[str, Any]
Decorator = Callable[[Callable[..., None]], Callable[..., None]]


class FractionType(click.ParamType[float]):
    """A fraction, such as 0.8 or 80%; its range is the library's to check."""

    name = "S"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return fraction_from(str(value))
        except SwatcostError:
            pass
        try:
            return float(str(value))  # such as nan, which the library refuses by the setting's name
        except ValueError:
            self.fail(f"{value!r:.40} is no number: give the fraction of zeros, such as 0.8 or 80%.", param, ctx)


class CountType(click.ParamType[int]):
    """A whole number, such as 1000 or 1k; its range is the library's to check."""

    name = "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value)
        try:
            return int(text) if text.strip().isdecimal() else count_from(text)
        except ValueError:
            self.fail(f"{value!r:.40} is not a valid integer: give one such as 1000 or 1k.", param, ctx)


class Several(click.ParamType[list[T]]):
    """Values with commas between them, or already a list of them."""

    def __init__(self, name: str, parse: Callable[[str], list[T]]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[T]:
        text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        try:
            return self._parse(text)
        except SwatcostError as error:
            self.fail(f"{error}.", param, ctx)


FRACTIONS = Several("S,S,…", fractions_from)
"""Fractions with commas between them, and ranges of them: 0.5,90% or 0.5:0.95:0.05."""

COUNTS = Several("N,N,…", counts_from)
"""Whole numbers with commas between them, and ranges of them: 1,10,1k or 32:128:32."""

NAMES = Several("NAME,…", names_from)
"""Names with commas between them: swat,rigl."""


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
    return click.option(option, type=FractionType(), help=help)


def shown(option: str, help: str, default: str | float, metavar: str) -> Decorator:
    """An option whose default the help shows; a whole number may be given as 1k."""
    kind = CountType() if isinstance(default, int) else type(default)
    return click.option(
        option, default=default, type=kind, metavar=metavar, show_default=True, help=help,
        shell_complete=OFFERED.get(option),
    )  # fmt: skip


def together(*options: Decorator) -> Decorator:
    """Options as one decorator, in the order in which the help shows them."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_MODEL_OPTIONS = together(
    click.option("--classes", type=CountType(), metavar="N", help="Number of classes, if not the network's own."),
    click.option("--input-shape", type=ShapeOfSample(), help="Shape of one sample, if not the network's own."),
    click.option("--input-dtype", metavar="T", help="Type of the input's numbers, such as int64."),
    click.option("--fresh", is_flag=True, help="Trace anew, whatever was traced before."),
)


def model_options(command: Callable[..., None]) -> Callable[..., None]:
    """How MODEL is loaded: given to the command as `loading`, which `loaded` takes beside the name."""

    @wraps(command)
    def gathered(
        *, classes: int | None, input_shape: tuple[int, ...] | None, input_dtype: str | None, fresh: bool, **given: Any
    ) -> None:
        loading = {"classes": classes, "input_shape": input_shape, "input_dtype": input_dtype, "fresh": fresh}
        command(loading=loading, **given)

    return _MODEL_OPTIONS(gathered)


FROM = click.option(
    "--from", "source", metavar="FILE", shell_complete=OFFERED["--from"],
    help="What the distribution reads: a table, a checkpoint, a run's record.",
)  # fmt: skip
FIRST_LAYER = click.option(
    "--first-layer", type=click.Choice(["dense", "sparse"]), help="[default: as the distribution has it]"
)
LAST_LAYER = click.option("--last-layer", type=click.Choice(["dense", "sparse"]), help="[default: sparse]")
KEEP_DENSE = click.option(
    "--keep-dense", multiple=True, metavar="PATTERN",
    callback=lambda context, option, patterns: patterns or None,  # none at all leaves the choice to the method
    help="Layers to keep dense, such as '*.downsample.*'; repeatable.",
)  # fmt: skip
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
    if format or output is None:
        return format or "table"
    ending = output.suffix.lower()
    if ending in _SUFFIXES:
        return _SUFFIXES[ending]
    if ending in _OTHER_FILES:
        raise SwatcostError(f"--output {output}: {ending} is none of the forms, choose one with --format")
    return "table"


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


def loaded(model: str, **source: Any) -> Network:
    """The network of this name, as `swatcost.load` gives it, and a word to who waits for its trace."""
    with waiting(f"tracing {model}"):
        return load(model, **source)
