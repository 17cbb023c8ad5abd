"""`swatcost report`: an estimate as one HTML file."""

import sys
from pathlib import Path
from typing import Any

import click

import swatcost
from swatcost.cli.options import MODEL, Loading, loaded, loading_options, setting_options
from swatcost.cli.output import show
from swatcost.cli.progress import say
from swatcost.cli.unused import say_unused
from swatcost.common.errors import SwatcostError
from swatcost.loading import loading_words
from swatcost.page import to_page
from swatcost.setting import command_line


@click.command("report")
@MODEL
@setting_options()
@loading_options
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="The .html file to write.")
def command(model: str, loading: Loading, output: Path | None, **settings: Any) -> None:
    """Writes an estimate as one self-contained HTML file with charts; it works offline.

    Example: swatcost report resnet50 --weights 0.8 --acts 0.8 --output report.html
    """
    if output is None and sys.stdout is not None and sys.stdout.isatty():
        raise SwatcostError("a report is megabytes of HTML: name a file for it with --output report.html")
    if output is not None and output.suffix.lower() not in (".html", ".htm"):
        say(f"{output} is written as HTML")
    found = swatcost.estimate(loaded(model, settings["precision"], **loading), **settings)
    say_unused([found])
    words = [model, *loading_words(**loading)]
    show(to_page(found, command=command_line(words, found.setting)), output)
