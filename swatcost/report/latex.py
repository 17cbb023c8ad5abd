"""An estimate as LaTeX tables (booktabs), to be read into a paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tabulate import tabulate

from swatcost.report import content
from swatcost.report.content import Table

if TYPE_CHECKING:
    from swatcost.estimate import Estimate

# Characters beyond ASCII that our cells use; tabulate escapes LaTeX's own.
_COMMANDS = {"×": r"$\times$", "↓": r"$\downarrow$", "µ": r"$\mu$"}


def render(estimate: Estimate, *, layers: bool, width: int) -> str:
    opening = [content.title(estimate.network), content.setting(estimate), content.headline(estimate)]
    comments = "\n".join(f"% {note}" for note in [*opening, *content.notes(estimate), r"Needs \usepackage{booktabs}."])
    tables = [content.layer_table(estimate, "wide")] if layers else content.tables(estimate)
    return "\n\n".join([comments, *map(lay_out, tables)])


def lay_out(table: Table) -> str:
    """A table of cells in this form."""
    header = [heading.replace("\n", " ") for heading in table.header]
    text = tabulate(
        table.rows, headers=header, tablefmt="latex_booktabs", disable_numparse=True, colalign=table.alignment
    )
    for character, command in _COMMANDS.items():
        text = text.replace(character, command)
    return text
