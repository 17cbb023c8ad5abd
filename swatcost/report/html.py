"""An estimate as an HTML fragment, for notebooks."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from tabulate import tabulate

from swatcost.report import content
from swatcost.report.content import Table

if TYPE_CHECKING:
    from swatcost.estimate import Estimate


def to_html(estimate: Estimate) -> str:
    """Headline tables and, folded away, the layers and what the numbers rest on."""
    items = "".join(f"<li>{escape(note)}</li>" for note in content.notes(estimate))
    return (
        f"<p><b>{escape(content.title(estimate.network))}</b><br>{escape(content.setting(estimate))}</p>"
        + "".join(_lay_out(table) for table in content.tables(estimate))
        + f"<details><summary>Layers</summary>{_lay_out(content.layer_table(estimate, 'wide'))}</details>"
        + f"<details><summary>What the numbers rest on</summary><ul>{items}</ul></details>"
    )


def _lay_out(table: Table) -> str:
    return str(
        tabulate(table.rows, headers=table.header, tablefmt="html", disable_numparse=True, colalign=table.alignment)
    )
