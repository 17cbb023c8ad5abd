"""`swatcost tables`: published numbers beside computed ones."""

import sys

import click

from swatcost.cli.completion import offering
from swatcost.cli.options import PlotFile, displaying, plot_options
from swatcost.cli.output import Display, form, show
from swatcost.cli.progress import unattended
from swatcost.cli.typed import say
from swatcost.plots import accuracy_by_reduction, check_accuracies
from swatcost.published import cells, reproduce
from swatcost.report.published import render


def _names() -> list[str]:
    every = [*dict.fromkeys(each.table for each in cells()), "all"]
    return [each for each in every if " " not in each]  # shells differ in how they complete a word with a space


@click.command("tables")
@click.argument("table", default="all", shell_complete=offering(_names))
@plot_options("accuracy loss against training FLOP reduction")
@displaying
def command(table: str, plot: PlotFile | None, display: Display) -> None:
    """Shows published numbers beside computed ones. TABLE is 2, 3, 4, 5, 7, 8, 10, RigL, … or all.

    --plot draws accuracy against reduction from Tables 2, 3, 4 and 5, one panel per network; the paper's Figure 6 is
    the ResNet-50 panel of Table 3.

    Example: swatcost tables 3 --plot figure6.pdf
    """
    say("notes", "tables are printed with their notes")
    asked = cells(table)
    if plot is not None:
        check_accuracies(asked)
    length = len(asked)
    with click.progressbar(reproduce(table), length, "computing", file=sys.stderr, hidden=unattended()) as bar:
        found = list(bar)
    if plot is not None:
        plot.save(accuracy_by_reduction(found, size=plot.size))
    show(render(found, form(display.format, display.output), **display.view()), display.output)
