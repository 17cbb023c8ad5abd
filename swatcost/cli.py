"""The command line: parse, call the library, print."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

import swatcost
from swatcost.conventions import DEFAULT_ACT_SPARSITY
from swatcost.errors import SwatcostError
from swatcost.files import write_atomically
from swatcost.report import FORMATS, render

_UNATTENDED_WIDTH = 80
_SUFFIXES = {".json": "json", ".csv": "csv", ".md": "markdown", ".tex": "latex"}

_EPILOG = """\b
Examples:
  swatcost resnet50 --weights 0.8 --acts 0.8 --period 1000
  swatcost resnet50 --weights 0.9 --acts 0.9 --convention exact --layers
  swatcost cifar_vgg16 --weights 0.9 --acts 0.9 --period 1 --batch-size 128 --output vgg.json
  swatcost trace resnet50 --output mine.json; swatcost mine.json --weights 0.8
  swatcost my_network.py:build --input-shape 3,64,64 --weights 0.8
  swatcost compare resnet50 --weights 0.8
  swatcost memory resnet50 --batch-size 32 --optimizer adam --fit 11GB
  swatcost tables 3
  swatcost list models
"""


_Decorator = Callable[[Callable[..., None]], Callable[..., None]]


class Sparsity(click.ParamType[float]):
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


class EstimateByDefault(click.Group):
    """A group whose first word is a command, or else a model to estimate."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {option for parameter in self.get_params(ctx) for option in parameter.opts}
        if args and args[0] not in self.commands and args[0] not in own:
            args = ["estimate", *args]
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, "MODEL [OPTIONS]")
        formatter.write_usage(ctx.command_path, "COMMAND [ARGS]", prefix="       ")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Shows the options of an estimate, which is what a model alone means, and the other commands."""
        estimate = self.commands["estimate"]
        options = [each for each in (*estimate.params, *self.get_params(ctx)) if isinstance(each, click.Option)]
        with formatter.section("Options"):
            formatter.write_dl([record for each in options if (record := each.get_help_record(ctx))])
        self.format_commands(ctx, formatter)


def _sparsity(option: str, help: str) -> _Decorator:
    return click.option(option, type=Sparsity(), help=help)


def _shown(option: str, help: str, default: str | float, metavar: str) -> _Decorator:
    return click.option(option, default=default, type=type(default), metavar=metavar, show_default=True, help=help)


def _model_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--fresh", is_flag=True, help="Trace anew, whatever was traced before."),
        click.option("--input-dtype", metavar="T", help="Type of the input's numbers, such as int64."),
        click.option("--input-shape", type=ShapeOfSample(), help="Shape of one sample, if not the network's own."),
        click.option("--classes", type=int, metavar="N", help="Number of classes, if not the network's own."),
    ):
        command = option(command)
    return command


_FORMAT = click.option(
    "--format", type=click.Choice(FORMATS), help="[default: by the ending of --output, or else table]"
)
_OUTPUT = click.option(
    "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write there, not to the screen."
)


@click.group(
    cls=EstimateByDefault,
    epilog=_EPILOG,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(swatcost.__version__, message="swatcost %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """What a neural network costs to train, densely and sparsely.

    MODEL is a network of the zoo (see `swatcost list models`), torchvision:NAME, timm:NAME,
    package.module:factory, path/file.py:factory, or the path of a saved trace (.json).
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@cli.command(hidden=True, epilog=_EPILOG)
@click.argument("model")
@_sparsity("--weights", "Weight sparsity: the fraction of zeros, in [0, 1).")
@_sparsity("--acts", "Activation sparsity; by default as the distribution has it, or 0.")
@_sparsity("--grads", "Sparsity of outputs' gradients, for meprop and dsg.")
@_shown("--period", "Iterations between two Top-K selections.", 1000, "P")
@_shown("--method", "What is sparse in which pass; see `swatcost list methods`.", "swat", "M")
@_shown("--distribution", "How sparsity is spread over layers; see `list distributions`.", "uniform", "D")
@_shown("--convention", "How MACs are counted; see `swatcost list conventions`.", "swat", "C")
@_shown("--device", "Machine profile, or a .toml file; see `swatcost list devices`.", "rtx2080ti", "D")
@_shown("--batch-size", "Samples in a training step.", 32, "N")
@click.option("--from", "source", metavar="FILE", help="What the distribution reads: a table, a checkpoint.")
@_shown("--default-act-sparsity", "Zeros that ReLU leaves, for methods charged with it.", DEFAULT_ACT_SPARSITY, "S")
@_shown("--steps", "Training steps over which a method's schedule is averaged.", 32_000, "N")
@click.option("--first-layer", type=click.Choice(["dense", "sparse"]), help="[default: as the distribution has it]")
@click.option("--last-layer", type=click.Choice(["dense", "sparse"]), help="[default: sparse]")
@click.option(
    "--keep-dense", multiple=True, metavar="PATTERN", help="Layers to keep dense, such as '*.downsample.*'; repeatable."
)
@_model_options
@click.option("--layers", is_flag=True, help="Also print a row for each layer.")
@_FORMAT
@_OUTPUT
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
    _print(render(result, _form(format, output), layers=layers, width=_width(output)), output)


@cli.command()
@click.argument("model")
@_model_options
@_OUTPUT
def trace(model: str, output: Path | None, **source: Any) -> None:
    """Traces a network and saves it as JSON, to be named as MODEL later."""
    _print(swatcost.load(model, **source).to_json(), output)


@cli.command()
@click.argument("model")
@_sparsity("--weights", "Target sparsity of whatever a method makes sparse.")
@_sparsity("--acts", "Target for activations, if not that of weights.")
@_sparsity("--grads", "Target for outputs' gradients, if not that of weights.")
@_shown("--method", "The method that is laid out under every convention.", "rigl", "M")
@_shown("--convention", "The convention that every method is laid out under.", "swat", "C")
@_shown("--distribution", "How sparsity is spread over layers.", "uniform", "D")
@click.option("--from", "source", metavar="FILE", help="What the distribution reads: a table, a checkpoint.")
@_shown("--period", "Iterations between two Top-K selections.", 1000, "P")
@_shown("--device", "Machine profile, or a .toml file.", "rtx2080ti", "D")
@_shown("--batch-size", "Samples in a training step.", 32, "N")
@_shown("--default-act-sparsity", "Zeros that ReLU leaves, for methods charged with it.", DEFAULT_ACT_SPARSITY, "S")
@_shown("--steps", "Training steps over which a method's schedule is averaged.", 32_000, "N")
@_model_options
@_FORMAT
@_OUTPUT
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
    _print(render_comparison(comparison, _form(format, output), width=_width(output)), output)


@cli.command()
@click.argument("model")
@_shown("--batch-size", "Samples in a training step.", 32, "N")
@_shown("--optimizer", "sgd, momentum, adam or adamw.", "momentum", "O")
@_shown("--precision", "fp32, bf16, fp16, or mixed (with master weights).", "fp32", "P")
@_sparsity("--weights", "Weight sparsity, for the sparse views.")
@_sparsity("--acts", "Activation sparsity.")
@_sparsity("--grads", "Sparsity of outputs' gradients, for meprop and dsg.")
@_shown("--method", "What is sparse in which pass.", "swat", "M")
@_shown("--distribution", "How sparsity is spread over layers.", "uniform", "D")
@click.option("--from", "source", metavar="FILE", help="What the distribution reads: a table, a checkpoint.")
@click.option("--fit", metavar="MEMORY", help="The largest batch in so much memory: 11GB, 24GiB, or a device.")
@click.option("--link", metavar="RATE", help="Time of moving saved tensors to the host, at so much a second: 16GB.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw the step, as .png, .svg or .pdf.")
@_model_options
@_FORMAT
@_OUTPUT
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
    _print(render_memory(found, _form(format, output), width=_width(output)), output)
    if plot is not None:
        draw(found.memory.dense, network.name, plot)


@cli.command()
@click.argument("table", default="all")
@_FORMAT
@_OUTPUT
def tables(table: str, format: str | None, output: Path | None) -> None:
    """Published numbers beside what the program gives: TABLE is 2, 3, 4, 5, 7, 8, 10, RigL, … or all.

    Example: swatcost tables 3
    """
    from swatcost.published import cells, reproduce
    from swatcost.report.published import render as render_published

    length = len(cells(table))
    unseen = sys.stderr is None or not sys.stderr.isatty()
    with click.progressbar(reproduce(table), length, "computing", file=sys.stderr, hidden=unseen) as bar:
        found = list(bar)
    _print(render_published(found, _form(format, output), width=_width(output)), output)


@cli.command("list")
@click.argument("what", type=click.Choice(["models", "methods", "distributions", "conventions", "devices"]))
def list_choices(what: str) -> None:
    """Lists what can be chosen by name."""
    from swatcost.report.choices import choices

    click.echo(choices(what, width=_width(None)))


def _form(format: str | None, output: Path | None) -> str:
    return format or (_SUFFIXES.get(output.suffix, "table") if output else "table")


def _width(output: Path | None) -> int:
    """Columns to print in: the terminal's, or what COLUMNS says, or 80."""
    attended = output is None and sys.stdout is not None and sys.stdout.isatty()
    return max(40, shutil.get_terminal_size().columns) if attended or "COLUMNS" in os.environ else _UNATTENDED_WIDTH


def _print(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text, nl=False)
    else:
        write_atomically(output, text)


def main(args: list[str] | None = None) -> int:
    """Runs the command line and returns its exit code: 0, or 2 with one line on standard error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that knows no × shows ? instead
    try:
        code = cli.main(args, prog_name="swatcost", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except (click.ClickException, SwatcostError) as error:
        return _misuse(error.format_message() if isinstance(error, click.ClickException) else str(error))
    except (click.Abort, KeyboardInterrupt):
        click.echo("swatcost: interrupted", err=True)
        return 130
    except BrokenPipeError:
        _abandon_standard_output()
        return 0
    except OSError as error:
        _abandon_standard_output()
        return _misuse(f"cannot write the output: {error.strerror or error}")


def _misuse(message: str) -> int:
    click.echo(f"swatcost: {' '.join(message.split())}", err=True)
    return 2


def _abandon_standard_output() -> None:
    """Keeps Python from complaining again when it flushes standard output at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
