"""The command line: parse, call the library, print. One file per command, imported when it is asked for."""

from __future__ import annotations

import io
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

import click

from swatcost.cli.config import Taken, add_no_config
from swatcost.cli.progress import say
from swatcost.cli.repeated import refuse_repeated
from swatcost.common import interrupts
from swatcost.common.errors import SwatcostError, SwatcostWarning
from swatcost.version import __version__, environment

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS = (
    "estimate", "summary", "trace", "compare", "explain", "audit", "conventions", "memory", "inference", "tables",
    "list", "sweep", "solve", "plan", "report", "explore", "run", "validate", "calibrate", "simulate", "study",
    "export", "two-four", "completion",
)  # fmt: skip
"""Every command, in the order of the documentation; each is a file of this package."""


_OTHER_WORDS = {
    "--sparsity": ("--weights", "--acts"), "--density": ("--weights", "--acts"), "--weight-sparsity": ("--weights",),
    "--act-sparsity": ("--acts",), "--activations": ("--acts",), "--gradients": ("--grads",), "--gpu": ("--device",),
    "--hardware": ("--device",), "--batch": ("--batch-size",), "--bs": ("--batch-size",), "--topk": ("--period",),
    "--topk-period": ("--period",), "--interval": ("--period",), "--algorithm": ("--method",),
    "--dtype": ("--input-dtype",), "--num-classes": ("--classes",), "--shape": ("--input-shape",),
    "--input-size": ("--input-shape",), "--image-size": ("--input-shape",), "--out": ("--output",),
    "--json": ("--format",), "--csv": ("--format",),
}  # fmt: skip
"""Options by the words that other programs, or the field, have for them."""


class EstimateByDefault(click.Group):
    """A group whose first word is a command, or else a model to estimate."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands and cmd_name in COMMANDS:
            module = import_module(f"{__name__}.{cmd_name.replace('-', '_')}")
            self.add_command(add_no_config(cast(click.Command, module.command)))
        return self.commands.get(cmd_name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {option for parameter in self.get_params(ctx) for option in parameter.opts}
        first = next((place for place, word in enumerate(args) if word not in own), len(args))
        if first < len(args) and args[first] not in COMMANDS:
            if args[first + 1 : first + 2] and args[first + 1][:1] != "-":  # two words: the first was to be a command
                _refuse_unknown_command(args[first])
            args = [*args[:first], "estimate", *args[first:]]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None and not ctx.resilient_parsing:
            refuse_repeated(command, ctx, rest)
        return name, command, rest

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Offers commands and, for an estimate, models and options."""
        estimate = command_named("estimate")
        here = click.Context(estimate)
        first_words = (estimate if incomplete[:1] == "-" else estimate.params[0]).shell_complete(here, incomplete)
        offered = {each.value: each for each in (*first_words, *super().shell_complete(ctx, incomplete))}
        return [*offered.values()]  # `list` is a command here

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, "MODEL [OPTIONS]")
        formatter.write_usage(ctx.command_path, "COMMAND [ARGS]", prefix="       ")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Shows the options of an estimate, which is what a model alone means, and the other commands."""
        estimate = command_named("estimate")
        every = {each.opts[-1]: each for each in (*estimate.params, *self.get_params(ctx))}  # both have --no-config
        options = [each for each in every.values() if isinstance(each, click.Option)]
        with formatter.section("Options"):
            formatter.write_dl([record for each in options if (record := each.get_help_record(ctx))])
        self.format_commands(ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Shows the examples of an estimate."""
        self.epilog = command_named("estimate").epilog
        super().format_epilog(ctx, formatter)


@add_no_config
@click.group(
    cls=EstimateByDefault,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 160},
)
@click.option("--version", is_flag=True, help="Print the version.")
@click.option("--verbose", is_flag=True, help="With --version: also the versions of what it runs on.")
@click.pass_context
def cli(ctx: click.Context, version: bool, verbose: bool) -> None:
    """Estimates what it costs to train a neural network, densely and sparsely.

    MODEL is a network of the zoo (see `swatcost list models`), torchvision:NAME, timm:NAME, hf:CLASS,
    package.module:factory, path/file.py:factory, or the path of a Hugging Face config or a saved trace (.json) or an
    ONNX file (.onnx).
    """
    if verbose and not version:
        raise SwatcostError("--verbose goes with --version; reports have --notes")
    if version:
        click.echo("\n".join(environment() if verbose else [f"swatcost {__version__}"]))
        ctx.exit()
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def _refuse_unknown_command(word: str) -> None:
    """Refuses a word that is nearly a command's name."""
    from difflib import get_close_matches

    if near := get_close_matches(word, COMMANDS, 1, 0.75):
        raise SwatcostError(f"unknown command {word!r}: did you mean {near[0]}?")


def command_named(name: str) -> click.Command:
    """A command of COMMANDS."""
    found = cli.get_command(click.Context(cli), name)
    assert found is not None
    return found


def main(args: list[str] | None = None) -> int:
    """Runs the command line and returns its exit code: 0, or 2 with one line on standard error.

    What a signal ends returns 128 and its number: 130 after Ctrl-C.
    """
    with interrupts.heeded() as came:
        try:
            return _run(args)
        except (click.Abort, KeyboardInterrupt):
            return _ended(came)
        except BaseException:
            if not came:
                raise
            return _ended(came)  # a library took the interrupt for a failure of its own


def _run(args: list[str] | None) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that knows no × shows ? instead
    taken = Taken()
    try:
        with _own_warnings() as warned:
            code = cli.main(args, prog_name="swatcost", standalone_mode=False, obj=taken)
        if sys.stdout is not None:
            sys.stdout.flush()
        for line in (*warned, *taken.said()):
            say(line)
        return code if isinstance(code, int) else 0
    except (click.ClickException, SwatcostError) as error:
        message = error.format_message() if isinstance(error, click.ClickException) else str(error)
        if isinstance(error, click.NoSuchOption):
            message = _said_otherwise(error) or message
        said = ", ".join(taken.said())
        return _misuse(f"{message} (with {said})" if said else message)
    except BrokenPipeError:
        _abandon_standard_output()
        return 0
    except OSError as error:
        if error.filename is not None:
            return _misuse(f"cannot use {os.fsdecode(error.filename)}: {error.strerror or error}")
        _abandon_standard_output()
        return _misuse(f"cannot write the output: {error.strerror or error}")


@contextmanager
def _own_warnings() -> Iterator[list[str]]:
    """Collects the program's own warnings, each once; others are shown as they come."""
    said: list[str] = []
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if not issubclass(category, SwatcostWarning):
                others(message, category, *place, **more)
            elif (line := " ".join(str(message).split())) not in said:
                said.append(line)

        warnings.simplefilter("always", SwatcostWarning)
        warnings.showwarning = show
        yield said


def _ended(came: list[int]) -> int:
    """Says what ended the program, which is Ctrl-C unless a signal came; returns the exit code."""
    number = came[-1] if came else signal.SIGINT
    say(interrupts.said(number))
    return interrupts.exit_code(number)


def _said_otherwise(error: click.NoSuchOption) -> str | None:
    """The message where the command has what is meant under another name."""
    known = {option for each in error.ctx.command.params for option in each.opts} if error.ctx else set()
    meant = [each for each in _OTHER_WORDS.get(error.option_name, ()) if each in known]
    return f"No such option '{error.option_name}'. Did you mean {' or '.join(meant)}?" if meant else None


def _misuse(message: str) -> int:
    say(message)
    return 2


def _abandon_standard_output() -> None:
    """Keeps Python from complaining again when it flushes standard output at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
