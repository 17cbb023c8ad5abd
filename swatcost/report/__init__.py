"""Output forms: one file each, the only place that rounds; and what each result says, one file each."""

from importlib import import_module
from typing import Any

from swatcost.common.errors import SwatcostError
from swatcost.common.registry import nearest
from swatcost.common.result import Result
from swatcost.report.sheet import View

FORMATS = ("table", "json", "csv", "markdown", "latex")


def render(result: Result, format: str = "table", **view: Any) -> str:
    """A result as text in one of FORMATS, shown as the fields of a `View` have it; ends in a newline.

    JSON and CSV hold everything, whatever the view.
    """
    return render_as(result.report, result, format, **view)


def render_as(report: str, result: Any, format: str = "table", **view: Any) -> str:
    """The same for what does not name its report itself; report is a module of this package."""
    said = import_module(f"{__name__}.{report}")
    text: str = import_module(f"{__name__}.{checked_format(format)}").render(said, result, View(**view))
    return text.rstrip("\n") + "\n"


def checked_format(format: str) -> str:
    """The format, or SwatcostError if it is none of FORMATS."""
    if format not in FORMATS:
        raise SwatcostError(f"unknown format {format!r}: {nearest(format, list(FORMATS))}")
    return format
