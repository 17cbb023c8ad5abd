"""Results as HTML fragments for notebooks."""

from collections.abc import Iterable, Sequence
from html import escape
from importlib import import_module

from swatcost.common.result import Result
from swatcost.report.sheet import Caveat, Figure, Sheet, Table


def to_html(result: Result) -> str:
    """Opening lines, summary, tables and caveats and, folded away, other notes, and layers that need not be shown."""
    sheet: Sheet = import_module(f"swatcost.report.{result.report}").sheet(result)
    widest = sheet.widest()
    layers = lay_out(widest) if widest else ""
    if layers and not sheet.shows_layers:
        layers = _folded("Layers", layers)
    caveats = [each for each in sheet.notes if isinstance(each, Caveat)]
    others = [each for each in sheet.notes if not isinstance(each, Caveat)]
    shown = _listed(caveats) if caveats else ""
    notes = _folded("Assumptions", _listed(others)) if others else ""
    return (
        _opening(sheet.opening) + _summary(sheet.summary) + "".join(map(lay_out, sheet.tables)) + shown + layers + notes
    )


def lay_out(table: Table) -> str:
    """A table of cells in this form, escaped."""

    def row(tag: str, cells: Sequence[str]) -> str:
        return "".join(
            f'<{tag} style="text-align: {side}">{escape(cell).replace(chr(10), "<br>")}</{tag}>'
            for cell, side in zip(cells, table.alignment, strict=True)
        )

    body = "".join(f"<tr>{row('td', cells)}</tr>" for cells in table.rows)
    return f"<table><thead><tr>{row('th', table.header)}</tr></thead><tbody>{body}</tbody></table>"


def _opening(lines: Sequence[str]) -> str:
    first, *rest = (escape(line) for line in lines)
    return f"<p>{'<br>'.join([f'<b>{first}</b>', *rest])}</p>"


def _summary(figures: Sequence[Figure]) -> str:
    rows = (
        f'<tr><th style="text-align: left">{escape(each.label)}</th><td style="text-align: left"><b>'
        f"{escape(each.value)}</b> {escape(each.remark)}</td></tr>"
        for each in figures
    )
    return f"<table><tbody>{''.join(rows)}</tbody></table>" if figures else ""


def _listed(sentences: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(each)}</li>" for each in sentences) + "</ul>"


def _folded(summary: str, inside: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{inside}</details>"
