"""Output forms: one file each, the only place that rounds; and what each result says, one file each."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from swatcost.common.errors import SwatcostError
from swatcost.common.registry import nearest
from swatcost.common.result import Result

if TYPE_CHECKING:
    from swatcost.report.sheet import Sheet
    from swatcost.report.tables import Table

FORMATS = ("table", "json", "csv", "markdown", "latex")


def render(result: Result, format: str, *, layers: bool = False, width: int = 80) -> str:
    """A result as text in one of FORMATS, with one row per layer if asked; ends in a newline.

    width is the number of columns that the terminal table may take. JSON always holds the layers.
    """
    return render_sheet(sheet_of(result, layers), format, width=width)


def render_sheet(sheet: Sheet, format: str, *, width: int = 80) -> str:
    """A report as text in one of FORMATS; ends in a newline."""
    text: str = import_module(f"{__name__}.{checked_format(format)}").render(sheet, width)
    return text.rstrip("\n") + "\n"


def sheet_of(result: Result, layers: bool = False) -> Sheet:
    """What a result's report says, with its layers if asked."""
    sheet: Sheet = import_module(f"{__name__}.{result.report}").sheet(result, layers)
    return sheet


def checked_format(format: str) -> str:
    """The format, or SwatcostError if it is none of FORMATS."""
    if format not in FORMATS:
        raise SwatcostError(f"unknown format {format!r}: {nearest(format, list(FORMATS))}")
    return format


def layouts(format: str) -> Callable[[Table], str]:
    """What lays out one table of cells in a form for people: table, markdown or latex."""
    lay_out: Callable[[Table], str] = import_module(f"{__name__}.{format}").lay_out
    return lay_out
