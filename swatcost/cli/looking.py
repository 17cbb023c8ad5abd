"""Commands for those who would rather look than read: a report in one HTML file, and a page to explore with."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

import swatcost
from swatcost.cli.completion import MODEL
from swatcost.cli.estimating import estimate
from swatcost.cli.options import Loading, loaded, model_options, show
from swatcost.cli.settings import estimate_options
from swatcost.common.errors import SwatcostError


class Remembering(click.Command):
    """A command that keeps the words it was given, for whoever wants to give them again."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[__name__] = list(args)
        return super().parse_args(ctx, args)


def _as_typed(ctx: click.Context) -> str:
    return shlex.join([*ctx.command_path.split(), *ctx.meta[__name__]])


@click.command(cls=Remembering)
@MODEL
@estimate_options
@model_options
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="The .html file to write.")
def report(
    model: str,
    loading: Loading,
    output: Path | None,
    **settings: Any,
) -> None:
    """Writes an estimate as one HTML file with charts, which needs no network.

    Example: swatcost report resnet50 --weights 0.8 --acts 0.8 --output report.html
    """
    from swatcost.page import to_page

    if output is None and sys.stdout is not None and sys.stdout.isatty():
        raise SwatcostError("a report is megabytes of HTML: name a file for it with --output report.html")
    network = loaded(model, **loading)
    show(to_page(swatcost.estimate(network, **settings), command=_as_typed(click.get_current_context())), output)


@click.command()
@MODEL
@estimate_options
@model_options
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8050, show_default=True, metavar="N", help="0: any free one."
)
@click.option("--no-browser", is_flag=True, help="Only say the address.")
def explore(
    model: str,
    loading: Loading,
    port: int,
    no_browser: bool,
    **settings: Any,
) -> None:
    """Shows an estimate in the browser, with sliders that change it at once.

    It starts from the options, or from 80 % of what the method makes sparse. Only this machine can see it.

    Example: swatcost explore resnet50 --method rigl
    """
    try:
        from swatcost.explorer.app import explorer
    except ImportError:
        raise SwatcostError("exploring needs dash and plotly: pip install 'swatcost[explore]'") from None
    from swatcost.explorer.choices import ORDER, choices_from
    from swatcost.explorer.looking import look
    from swatcost.explorer.serving import listening, serve

    network = loaded(model, **loading)
    choices = choices_from(settings)
    if reason := look(network, choices, [choices.start[name] for name in ORDER]).reason:
        raise SwatcostError(reason)
    app = explorer(network, choices, lambda chosen: command_for(model, loading | {"fresh": False} | chosen))

    def started(address: str) -> None:
        click.echo(address)
        click.echo("swatcost: Ctrl-C ends it", err=True)

    serve(app, listening(port), started=started, browse=not no_browser)


def command_for(model: str, settings: dict[str, Any]) -> str:
    """The command line of an estimate with these settings; what is as without an option is left out."""
    words = ["swatcost", model]
    for parameter in estimate.params:
        value = settings.get(str(parameter.name))
        if value is None or value is False or value == () or value == parameter.get_default(click.Context(estimate)):
            continue
        option = parameter.opts[0]
        if value is True:
            words.append(option)
        elif parameter.multiple:
            words += [word for each in value for word in (option, str(each))]
        else:
            words += [option, ",".join(map(str, value)) if isinstance(value, tuple) else _written(value)]
    return shlex.join(words)


def _written(value: Any) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)  # sliders add up steps: 0.81, not 0.8100000001
