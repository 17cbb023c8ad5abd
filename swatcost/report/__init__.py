"""Output forms: one file each, the only place that rounds."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from swatcost.errors import SwatcostError
from swatcost.registry import nearest

if TYPE_CHECKING:
    from swatcost.estimate import Estimate

FORMATS = ("table", "json", "csv", "markdown", "latex")


def render(estimate: Estimate, format: str, *, layers: bool = False, width: int = 80) -> str:
    """The estimate as text in one of FORMATS, with a row a layer if asked; ends in a newline.

    width is the number of columns that the terminal table may take. JSON always holds the layers.
    """
    if format not in FORMATS:
        raise SwatcostError(f"unknown format {format!r}: {nearest(format, list(FORMATS))}")
    text: str = import_module(f"{__name__}.{format}").render(estimate, layers=layers, width=width)
    return text.rstrip("\n") + "\n"
