"""Output forms: one file each, the only place that rounds."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from swatcost.common.errors import SwatcostError
from swatcost.common.registry import nearest

if TYPE_CHECKING:
    from swatcost.estimate import Estimate
    from swatcost.report.content import Table

FORMATS = ("table", "json", "csv", "markdown", "latex")


def render(estimate: Estimate, format: str, *, layers: bool = False, width: int = 80) -> str:
    """The estimate as text in one of FORMATS, with a row a layer if asked; ends in a newline.

    width is the number of columns that the terminal table may take. JSON always holds the layers.
    """
    text: str = import_module(f"{__name__}.{checked_format(format)}").render(estimate, layers=layers, width=width)
    return text.rstrip("\n") + "\n"


def checked_format(format: str) -> str:
    """The format, or SwatcostError if it is none of FORMATS."""
    if format not in FORMATS:
        raise SwatcostError(f"unknown format {format!r}: {nearest(format, list(FORMATS))}")
    return format


def layouts(format: str) -> Callable[[Table], str]:
    """What lays out one table of cells in a form for people: table, markdown or latex."""
    lay_out: Callable[[Table], str] = import_module(f"{__name__}.{format}").lay_out
    return lay_out
