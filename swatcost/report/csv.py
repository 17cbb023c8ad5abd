"""A report as CSV, unrounded."""

from __future__ import annotations

import csv
import io

from swatcost.report.sheet import Rows, Sheet


def render(sheet: Sheet, width: int) -> str:
    return as_csv(sheet.rows())


def as_csv(rows: Rows) -> str:
    """Rows with the same columns, below a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
