"""The command line: parse, call the library, print."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

import click

import swatcost
from swatcost.cli import estimating, looking, planning, running, simulating
from swatcost.cli.completion import OFFERED, completion
from swatcost.cli.defaults import Taken, add_no_config
from swatcost.cli.estimating import EPILOG
from swatcost.common.errors import SwatcostError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class EstimateByDefault(click.Group):
    """A group whose first word is a command, or else a model to estimate."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        super().add_command(add_no_config(cmd), name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {option for parameter in self.get_params(ctx) for option in parameter.opts}
        first = next((place for place, word in enumerate(args) if word not in own), len(args))
        if first < len(args) and args[first] not in self.commands:
            args = [*args[:first], "estimate", *args[first:]]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Offers commands and, for an estimate, models and options."""
        estimate = self.commands["estimate"]
        first = estimate.params[0]
        if incomplete[:1] == "-":
            first_words = estimate.shell_complete(click.Context(estimate), incomplete)
        else:
            first_words = OFFERED["model"](ctx, first, incomplete)
        offered = {each.value: each for each in (*first_words, *super().shell_complete(ctx, incomplete))}
        return list(offered.values())

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, "MODEL [OPTIONS]")
        formatter.write_usage(ctx.command_path, "COMMAND [ARGS]", prefix="       ")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Shows the options of an estimate, which is what a model alone means, and the other commands."""
        estimate = self.commands["estimate"]
        every = {each.opts[-1]: each for each in (*estimate.params, *self.get_params(ctx))}  # both have --no-config
        options = [each for each in every.values() if isinstance(each, click.Option)]
        with formatter.section("Options"):
            formatter.write_dl([record for each in options if (record := each.get_help_record(ctx))])
        self.format_commands(ctx, formatter)


@add_no_config
@click.group(
    cls=EstimateByDefault,
    epilog=EPILOG,
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


for _command in (
    estimating.estimate,
    estimating.trace,
    estimating.compare,
    estimating.memory,
    estimating.tables,
    estimating.list_choices,
    planning.sweep,
    planning.solve,
    planning.plan,
    looking.report,
    looking.explore,
    running.run,
    running.validate,
    running.calibrate,
    simulating.simulate,
    simulating.study,
    simulating.export,
    simulating.two_four,
    completion,
):
    cli.add_command(_command)


def main(args: list[str] | None = None) -> int:
    """Runs the command line and returns its exit code: 0, or 2 with one line on standard error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that knows no × shows ? instead
    taken = Taken()
    try:
        code = cli.main(args, prog_name="swatcost", standalone_mode=False, obj=taken)
        if sys.stdout is not None:
            sys.stdout.flush()
        for default in taken.said():
            click.echo(f"swatcost: {default}", err=True)
        return code if isinstance(code, int) else 0
    except (click.ClickException, SwatcostError) as error:
        message = error.format_message() if isinstance(error, click.ClickException) else str(error)
        said = ", ".join(taken.said())
        return _misuse(f"{message} (with {said})" if said else message)
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
