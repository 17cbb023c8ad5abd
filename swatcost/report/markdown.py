"""An estimate as GitHub-flavoured Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tabulate import tabulate

from swatcost.report import content
from swatcost.report.content import Table

if TYPE_CHECKING:
    from swatcost.estimate import Estimate


def render(estimate: Estimate, *, layers: bool, width: int) -> str:
    opening = (f"**{content.title(estimate.network)}**", content.setting(estimate), content.headline(estimate))
    blocks = ["  \n".join(opening)]
    if layers:
        blocks.append(lay_out(content.layer_table(estimate, "wide")))
    blocks += map(lay_out, content.tables(estimate))
    blocks.append("\n".join(f"- {note}" for note in content.notes(estimate)))
    return "\n\n".join(blocks).replace("_", r"\_")


def lay_out(table: Table) -> str:
    """A table of cells in this form."""
    header = [heading.replace("\n", " ") for heading in table.header]
    rows = [[cell.replace("|", r"\|") for cell in row] for row in table.rows]
    return tabulate(rows, headers=header, tablefmt="pipe", disable_numparse=True, colalign=table.alignment)
