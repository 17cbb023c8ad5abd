"""A report as CSV, unrounded; text that a spreadsheet would take for a formula has an apostrophe before it."""

import csv
import io
from typing import Any

from swatcost.common.printing import cell
from swatcost.report.sheet import View


def render(report: Any, result: Any, view: View) -> str:
    """One row per layer if asked, or else what the report sums up, where it does."""
    brief = None if view.layers else getattr(report, "summary_rows", None)
    rows = list((brief or report.rows)(result))
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()
