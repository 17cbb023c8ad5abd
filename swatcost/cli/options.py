"""Options that commands share: what a setting is given by, how MODEL is loaded, forms of output, plots."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from swatcost.cli.completion import Complete, completing, models, offering
from swatcost.cli.config import forget_defaults
from swatcost.cli.output import SUFFIXES, Display
from swatcost.cli.parameter_types import (
    COUNTS,
    FRACTIONS,
    NAMES,
    CountType,
    FractionOrFileType,
    FractionType,
    PlotPath,
    ShapeOfSample,
)
from swatcost.cli.progress import say, waiting
from swatcost.cli.typed import no_difference, typed
from swatcost.common.errors import SwatcostError
from swatcost.common.result import Result
from swatcost.loading import load
from swatcost.loading.hugging_face import settings_of, trace_or_config
from swatcost.memory.optimizers import OPTIMIZERS, UPDATES
from swatcost.memory.precisions import PRECISIONS
from swatcost.memory.sharding import SHARDINGS
from swatcost.network import Network
from swatcost.plots.sizes import SIZES
from swatcost.report import FORMATS
from swatcost.setting import EVERY_SETTING, OPTIONS, Option, Scope, option_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Loading = dict[str, Any]
Decorator = Callable[[Callable[..., None]], Callable[..., None]]

_SEVERAL: dict[str, click.ParamType[Any]] = {"sparsity": FRACTIONS, "count": COUNTS, "name": NAMES}


def shown(option: str, help: str, default: str | float, metavar: str, complete: Complete | None = None) -> Decorator:
    """An option whose default the help shows; a whole number may be given as 1k."""
    kind = CountType() if isinstance(default, int) else type(default)
    return click.option(
        option, default=default, type=kind, metavar=metavar, show_default=True, help=help, shell_complete=complete
    )


def together(*options: Decorator) -> Decorator:
    """Options as one decorator, in the order in which the help shows them."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def setting_options(scope: Scope = EVERY_SETTING) -> Decorator:
    """The options of the settings in a scope, given to the command by the settings' names.

    Those that the scope leaves out are refused with its reason.
    """
    taken = [_setting_option(name, option, name in scope.several) for name, option in scope.options.items()]
    return together(*taken, *(_refused(name, reason) for name, reason in scope.without.items()))


def _setting_option(name: str, option: Option, several: bool) -> Decorator:
    complete = completing(option)
    words = f"  [default: {option.default_is}]" if option.default_is else ""
    given: dict[str, Any] = {"help": option.help + words, "shell_complete": complete}
    if option.kind == "flag":
        return click.option(option_name(name), name, is_flag=True, **given)
    if option.kind == "patterns":
        given |= {"multiple": True, "callback": lambda context, option, patterns: patterns or None}
        return click.option(option_name(name), name, metavar=option.metavar, **given)
    if option.default is not None:
        given |= {"default": option.default, "show_default": True}
    if several:
        given |= {"type": _SEVERAL[option.kind], "default": None if option.default is None else str(option.default)}
    elif option.kind == "sparsity":
        given |= {"type": FractionOrFileType() if option.files else FractionType(), "metavar": option.metavar}
    elif option.kind == "choice":
        given["type"] = click.Choice(option.names() if option.names else [])
    else:
        given |= {"type": CountType() if option.kind == "count" else str, "metavar": option.metavar}
    return click.option(option_name(name), name, **given)


def _refused(name: str, reason: str) -> Decorator:
    def refuse(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value not in (None, False):
            raise SwatcostError(f"{option_name(name)}: {reason}")

    is_flag = OPTIONS[name].kind == "flag"
    return click.option(option_name(name), name, hidden=True, expose_value=False, callback=refuse, is_flag=is_flag)


def without_defaults(settings: dict[str, Any], *names: str) -> dict[str, Any]:
    """The settings without those of these names that were not typed: their defaults do not apply here."""
    if unused := set(names) - typed().keys():
        forget_defaults(*unused)
    return {name: value for name, value in settings.items() if name not in unused}


MODEL = click.argument("model", shell_complete=offering(models, files=True))
"""The argument MODEL, of one network."""

MODELS = click.argument(
    "models", nargs=-1, required=True, metavar="MODEL…", shell_complete=offering(models, files=True)
)
"""The same of several."""

CLASSES = click.option("--classes", type=CountType(), help="Number of classes, if not the network's own.")
INPUT_SHAPE = click.option("--input-shape", type=ShapeOfSample(), help="Shape of one sample, if not the network's own.")

_LOADING = together(
    CLASSES,
    INPUT_SHAPE,
    click.option("--input-dtype", metavar="T", help="Input dtype, such as int64."),
    click.option("--seq-len", type=CountType(), help="Tokens in one sample of a language model, if not its own."),
    click.option(
        "--set", "settings", metavar="KEY=VALUE", multiple=True,
        callback=lambda context, option, words: settings_of(words),
        help="A field of a Hugging Face config, such as num_hidden_layers=2; repeatable.",
    ),
    click.option(
        "--checkpoint", metavar="PATTERN", multiple=True,
        help="What if these modules were checkpointed, such as 'layer1.*'; repeatable.",
    ),
    click.option("--fresh", is_flag=True, help="Ignore the trace cache."),
)  # fmt: skip


def loading_options(command: Callable[..., Any]) -> Callable[..., None]:
    """How MODEL is loaded: given to the command as `loading`, which `loaded` takes beside the name."""

    @wraps(command)
    def gathered(
        *,
        classes: int | None,
        input_shape: tuple[int, ...] | None,
        input_dtype: str | None,
        seq_len: int | None,
        settings: dict[str, Any] | None,
        checkpoint: tuple[str, ...],
        fresh: bool,
        **given: Any,
    ) -> None:
        loading = {
            "classes": classes, "input_shape": input_shape, "input_dtype": input_dtype,
            "seq_len": seq_len, "settings": settings, "checkpoint": checkpoint or None, "fresh": fresh,
        }  # fmt: skip
        command(loading=loading, **given)

    return _LOADING(gathered)


def network_options(command: Callable[..., Any]) -> Callable[..., None]:
    """MODEL and how it is loaded: the command is given the `network`.

    A command that has --loss, or --precision, has the network traced under them.
    """

    @wraps(command)
    def traced(*, model: str, loading: Loading, **given: Any) -> None:
        conditions: Loading = {name: given.pop(name) for name in _OF_TRACE if name in given}
        conditions = {name: value or None for name, value in conditions.items()}
        if (precision := given.get("precision")) is not None:
            conditions["autocast"] = PRECISIONS.choose(precision).autocast
        command(network=loaded(model, **loading, **conditions), **given)

    return MODEL(loading_options(traced))


def loaded(model: str, precision: str | None = None, **source: Any) -> Network:
    """The network of this name, as `swatcost.load` gives it, for steps in this precision; says on standard error that
    it is tracing.
    """
    if precision is not None:
        source["autocast"] = PRECISIONS.choose(precision).autocast
    if source.get("fresh"):
        if model.endswith(".onnx"):
            no_difference("fresh", f"{model} is an ONNX file")
        elif model.endswith(".json") and isinstance(trace_or_config(model), Network):
            no_difference("fresh", f"{model} is a saved trace")
    with waiting(f"tracing {model}"):
        return load(model, **source)


OFFLOAD = click.option("--offload", is_flag=True, help="What if saved tensors moved to the host until they are needed.")
HOLD_OUTPUTS = click.option(
    "--hold-outputs", is_flag=True, help="The network's outputs live until the step is over, not only in the loss."
)
LOSS = click.option(
    "--loss", metavar="L", shell_complete=offering(lambda: ["none", "mse", "cross-entropy"]),
    help="none, mse, cross-entropy, or FILE:factory.  [default: what the output looks like]",
)  # fmt: skip

_EXECUTION: dict[str, Decorator] = {
    "loss": LOSS,
    "optimizer": shown(
        "--optimizer", "The optimizer; see `swatcost list optimizers`.", "momentum", "O", offering(OPTIMIZERS.names)
    ),
    "precision": click.option(
        "--precision", metavar="P", shell_complete=offering(PRECISIONS.names),
        help="fp32, amp, …; see `swatcost list precisions`.  [default: fp32, or the trace's]",
    ),
    "update": click.option(
        "--update", metavar="WAY", shell_complete=offering(lambda: list(UPDATES)),
        help="How it updates: foreach, fused or loop.  [default: as its library does on a GPU]",
    ),
    "accumulate": shown("--accumulate", "Micro-batches per update; the batch size is that of one.", 1, "N"),
    "update_in_backward": click.option(
        "--update-in-backward", is_flag=True,
        help="Update each parameter, and free its gradient, as soon as that is computed.",
    ),
    "gpus": shown("--gpus", "GPUs that share a step; the batch size is that of one.", 1, "N"),
    "sharding": shown(
        "--sharding", "How they share it; see `swatcost list shardings`.", "ddp", "S", offering(SHARDINGS.names)
    ),
    "tensor_parallel": shown("--tensor-parallel", "GPUs that split every layer; a divisor of --gpus.", 1, "T"),
    "weight_storage": click.option(
        "--weight-storage", metavar="PART=VALUE,…",
        help="How compressed weights are stored, if not the least that the method allows: transposes=1,mask_bits=8, …",
    ),
    "offload": OFFLOAD,
    "hold_outputs": HOLD_OUTPUTS,
}  # fmt: skip


_OF_TRACE = ("loss", "offload", "hold_outputs")


def execution_options(*without: str) -> Decorator:
    """How training steps are executed: given to the command by the keywords of Execution.

    --loss, --offload and --hold-outputs are a trace's: `network_options` takes them.
    """
    return together(*(option for name, option in _EXECUTION.items() if name not in without))


LAYERS = click.option("--layers", is_flag=True, help="Also print one row per layer.")


def fold_option(what: str) -> Decorator:
    """--fold and --no-fold, with neither of them None."""
    return click.option(
        "--fold/--no-fold", default=None,
        help=f"Show {what} that are equal as one row, or each.  [default: fold where that makes a long table short]",
    )  # fmt: skip


PER = click.option(
    "--per", type=click.Choice(["sample", "token"]), default="sample", show_default=True,
    help="Show MACs per sample, which is a sequence where the inputs are tokens, or per token.",
)  # fmt: skip
FORMAT = click.option(
    "--format", type=click.Choice(FORMATS), help="[default: by the ending of --output, or else table]"
)
OUTPUT = click.option(
    "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write there, not to the screen."
)
_ENDINGS = {"", ".txt", ".text", ".log", *SUFFIXES, ".parquet"}
"""Endings of --output that say which form it has, or that it is text."""
_NOTES = together(
    click.option("--notes", is_flag=True, help="Print every note on what was counted and assumed."),
    click.option("--quiet", is_flag=True, help="Print the summary alone; where there is none, tables without notes."),
)


def displaying(command: Callable[..., Any]) -> Callable[..., None]:
    """--format, --output, --notes and --quiet: given to the command as `display`, which shows its answer."""
    return FORMAT(OUTPUT(printing(command)))


def printing(command: Callable[..., Any]) -> Callable[..., None]:
    """--notes and --quiet, with the command's own --format and, if it has one, --output: given to it as `display`."""

    @wraps(command)
    def gathered(*, notes: bool, quiet: bool, format: str | None, output: Path | None = None, **given: Any) -> None:
        if notes and quiet:
            raise SwatcostError("--notes and --quiet: give one of them")
        display = Display(format=format, output=output, notes=notes, quiet=quiet)
        display.check()
        if format is None and output is not None and output.suffix.lower() not in _ENDINGS:
            say(f"unknown ending: {output} is written as a plain table; --format has other forms")
        if (written := display.written_as) != "table":
            for name in ("notes", "quiet"):
                no_difference(name, f"only a table shows or hides notes, not {written}")
        command(display=display, **given)

    return _NOTES(gathered)


def reporting(command: Callable[..., Result | None]) -> Callable[..., None]:
    """The same for a command that gives a result, whose report is shown; nothing is, where it gives none."""

    @wraps(command)
    def shown(*, display: Display, **given: Any) -> None:
        result = command(**given)
        if result is not None:
            views = {name: given[name] for name in ("layers", "relative") if given.get(name)}
            if "layers" in given and given.get("fold") is not None:
                views["fold"] = given["fold"]
            if given.get("per") == "token":
                views["per"] = "token"
            for name in views:
                without = {each: value for each, value in views.items() if each != name}
                if display.text(result, **views) == display.text(result, **without):
                    form = "the summary" if display.quiet else f"the {display.written_as}"
                    no_difference(name, f"{form} is the same without it")
            if "columns" in given and display.written_as == "json":
                no_difference("columns", "JSON has every column")
            display.result(result, **views)

    return displaying(shown)


@dataclass(frozen=True)
class PlotFile:
    """The file of a plot, its size in `swatcost.plots`, and whether it has a title and caption."""

    path: Path
    size: str
    title: bool

    def save(self, figure: "Figure") -> None:
        """Writes the figure, drawn at this size."""
        from swatcost.plots import save

        save(figure, self.path, title=self.title)


_PLOT_SIZE = click.option(
    "--plot-size", type=click.Choice(list(SIZES)), default="screen", show_default=True,
    help="Width of the plot: 8 in for a screen, 3.5 in for a paper's column.",
)  # fmt: skip
_NO_TITLE = click.option("--no-title", is_flag=True, help="Draw no title or caption above the plot, for a paper.")


def plot_options(what: str) -> Decorator:
    """--plot, whose file is checked before anything is computed, --plot-size and --no-title.

    The command is given one PlotFile as `plot`, or None where nothing is drawn.
    """
    option = click.option(
        "--plot", type=PlotPath(), metavar="FILE", help=f"Draw {what}, as .png, .svg or .pdf; needs matplotlib."
    )

    def decorate(command: Callable[..., Any]) -> Callable[..., None]:
        @wraps(command)
        def drawing(*, plot: Path | None, plot_size: str, no_title: bool, **given: Any) -> Any:
            if plot is None and (unused := [typed()[name] for name in ("plot_size", "no_title") if name in typed()]):
                raise SwatcostError(f"{unused[0]} is for a plot: give --plot FILE, or leave it out")
            file = None if plot is None else PlotFile(plot, plot_size, not no_title)
            return command(plot=file, **given)

        return option(_PLOT_SIZE(_NO_TITLE(drawing)))

    return decorate
