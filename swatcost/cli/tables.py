"""`swatcost tables`: published numbers beside computed ones."""

import sys

import click

from swatcost.cli.completion import offering
from swatcost.cli.options import PlotFile, displaying, plot_options
from swatcost.cli.output import Display, form, show
from swatcost.cli.progress import unattended
from swatcost.cli.typed import no_difference
from swatcost.plots import accuracy_by_reduction, check_accuracies
from swatcost.published import cells, reproduce
from swatcost.report.published import render


def _names() -> list[str]:
    every = [*dict.fromkeys(each.table for each in cells()), "all"]
    return [each for each in every if " " not in each]  # shells differ in how they complete a word with a space


@click.command("tables")
@click.argument("table", nargs=-1, shell_complete=offering(_names))
@plot_options("accuracy loss against training FLOP reduction")
@displaying
def command(table: tuple[str, ...], plot: PlotFile | None, display: Display) -> None:
    """Shows published numbers beside computed ones. TABLE is all (the default), a table, section, figure or equation
    of the SWAT paper (3, section 4.2, A.9, figure 6, eq. 7, abstract), or RigL.

    --plot draws accuracy against reduction from Tables 2, 3, 4 and 5, one panel per network; the paper's Figure 6 is
    the ResNet-50 panel of Table 3.

    Example: swatcost tables figure 6 --plot figure6.pdf
    """  # fmt: skip
    no_difference("notes", "tables are printed with their notes")
    name = " ".join(table) if table else "all"
    asked = cells(name)
    if plot is not None:
        check_accuracies(asked)
    length = len(asked)
    with click.progressbar(reproduce(name), length, "computing", file=sys.stderr, hidden=unattended()) as bar:
        found = list(bar)
    if plot is not None:
        plot.save(accuracy_by_reduction(found, size=plot.size))
    show(render(found, form(display.format, display.output), **display.view()), display.output)
