"""A report of several tables and sentences, in any of the forms: what most commands print."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from swatcost.report import checked_format, layouts, table
from swatcost.report.content import Table
from swatcost.report.table import wrap

Rows = Sequence[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """What a report says: opening lines, tables and notes for people, `data` for JSON and `rows` for CSV."""

    opening: Sequence[str]
    tables: Sequence[Table]
    notes: Sequence[str]
    data: Callable[[], dict[str, Any]]
    rows: Callable[[], Rows]


def render(sheet: Sheet, format: str, *, width: int = 80) -> str:
    """The sheet as text in one of FORMATS; ends in a newline."""
    if checked_format(format) == "json":
        import msgspec

        return msgspec.json.format(msgspec.json.encode(sheet.data()), indent=2).decode() + "\n"
    if format == "csv":
        return as_csv(sheet.rows())
    comment = "% " if format == "latex" else ""
    lay_out = partial(table.lay_out, width=width) if format == "table" else layouts(format)
    blocks = ["\n".join(wrap(f"{comment}{line}", width, indent=comment) for line in sheet.opening)]
    blocks += [lay_out(each) for each in sheet.tables]
    if sheet.notes:
        lines = (wrap(f"{comment or '- '}{note}", width, indent=comment or "  ") for note in sheet.notes)
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def as_csv(rows: Rows) -> str:
    """Rows with the same columns, below a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
