"""Commands for those who would rather look than read: a report in one HTML file."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

import swatcost
from swatcost.cli.estimating import estimate_options
from swatcost.cli.options import model_options, show
from swatcost.errors import SwatcostError


class Remembering(click.Command):
    """A command that keeps the words it was given, for whoever wants to give them again."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[__name__] = list(args)
        return super().parse_args(ctx, args)


def _as_typed(ctx: click.Context) -> str:
    return shlex.join([*ctx.command_path.split(), *ctx.meta[__name__]])


@click.command(cls=Remembering)
@click.argument("model")
@estimate_options
@model_options
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="The .html file to write.")
def report(
    model: str,
    input_shape: tuple[int, ...] | None,
    input_dtype: str | None,
    classes: int | None,
    fresh: bool,
    output: Path | None,
    **settings: Any,
) -> None:
    """Writes an estimate as one HTML file with charts, which needs no network.

    Example: swatcost report resnet50 --weights 0.8 --acts 0.8 --output report.html
    """
    from swatcost.page import to_page

    if output is None and sys.stdout is not None and sys.stdout.isatty():
        raise SwatcostError("a report is megabytes of HTML: name a file for it with --output report.html")
    network = swatcost.load(model, input_shape=input_shape, input_dtype=input_dtype, classes=classes, fresh=fresh)
    show(to_page(swatcost.estimate(network, **settings), command=_as_typed(click.get_current_context())), output)
