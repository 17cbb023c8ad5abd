"""Output forms: one file each, the only place that rounds; and what each result says, one file each."""

from importlib import import_module
from types import SimpleNamespace
from typing import Any

from swatcost.common.errors import SwatcostError
from swatcost.common.printing import escaped_in_json, printable_lines
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
    return _rendered(import_module(f"{__name__}.{report}"), result, format, View(**view))


def _rendered(report: Any, result: Any, format: str, view: View) -> str:
    form = import_module(f"{__name__}.{checked_format(format)}")
    text: str = form.render(_viewed(report, format, view), result, view)
    clean = escaped_in_json if format == "json" else printable_lines
    return clean(text.rstrip("\n") + "\n")


def _viewed(report: Any, format: str, view: View) -> Any:
    """The report whose tables show what the view asks for; JSON and CSV hold both a sample's and a token's work."""
    if view.relative:
        return _relative(report, format)
    if view.per == "sample" or format in ("csv", "json"):
        return report
    if view.per != "token" or not hasattr(report, "sheet_per_token"):
        raise SwatcostError(f"per {view.per!r:.40}: estimates and summaries show work per 'sample' or per 'token'")
    return SimpleNamespace(sheet=report.sheet_per_token)


def _relative(report: Any, format: str) -> Any:
    """The report whose tables show shares of dense, or SwatcostError where there is none."""
    if not hasattr(report, "relative_sheet"):
        raise SwatcostError("relative: only comparisons show shares of dense, leave it out")
    if format in ("csv", "json"):
        raise SwatcostError(f"relative: {format} holds reductions, and a share is 1 minus that; leave it out")
    return SimpleNamespace(sheet=report.relative_sheet)


def checked_format(format: str) -> str:
    """The format, or SwatcostError if it is none of FORMATS."""
    if format not in FORMATS:
        raise SwatcostError(f"unknown format {format!r}: {nearest(format, list(FORMATS))}")
    return format
