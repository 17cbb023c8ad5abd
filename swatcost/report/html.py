"""Estimates, networks and whatever else prints as tables, as HTML fragments for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from swatcost.report import content
from swatcost.report.content import Table
from swatcost.report.numbers import scaled, shape

if TYPE_CHECKING:
    from swatcost.estimate import Estimate
    from swatcost.network import Network
    from swatcost.report.sheet import Sheet


def to_html(estimate: Estimate) -> str:
    """Headline tables and, folded away, the layers and what the numbers rest on."""
    return (
        _opening([content.title(estimate.network), content.setting(estimate), content.headline(estimate)])
        + "".join(map(lay_out, content.tables(estimate)))
        + _folded("Layers", lay_out(content.layer_table(estimate, "wide")))
        + _folded("What the numbers rest on", _listed(content.notes(estimate)))
    )


def sheet_to_html(sheet: Sheet) -> str:
    """Opening lines and tables and, folded away, the notes."""
    notes = _folded("What the numbers rest on", _listed(sheet.notes)) if sheet.notes else ""
    return _opening(sheet.opening) + "".join(map(lay_out, sheet.tables)) + notes


def network_to_html(network: Network) -> str:
    """A network's title, its layers folded away, and what was met and has no formula."""
    tensors = [f"{len(network.parameters)} parameters", f"{len(network.buffers)} buffers"]
    counted = f"{len(network.counted_layers)} layers that are counted, {', '.join(tensors)}"
    missed = [
        f"{each.operation} ×{each.calls} in {', '.join(each.places)}" for each in network.uncounted if each.products
    ]
    others = [f"{each.operation} ×{each.calls}" for each in network.uncounted if not each.products]
    understood = _listed([f"Not understood, may multiply tensors: {each}" for each in missed]) if missed else ""
    return (
        _opening([content.title(network), counted])
        + understood
        + _folded("Layers", lay_out(_layers(network)))
        + _folded("Met and not counted", _listed(others or ["nothing"]))
    )


def _layers(network: Network) -> Table:
    sizes = {each.name: each.elements for each in network.parameters}
    rows = [
        [
            layer.name,
            layer.kind,
            shape(network.sample_shape(layer.input_shape)),
            shape(layer.weight_shape),
            shape(network.sample_shape(layer.output_shape)),
            scaled(sum(sizes.pop(name, 0) for name in layer.parameters)),  # a shared one once
        ]
        for layer in network.layers
    ]
    return Table(["layer", "kind", "input", "weight", "output", "parameters"], rows, text_columns=5)


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


def _listed(sentences: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(each)}</li>" for each in sentences) + "</ul>"


def _folded(summary: str, inside: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{inside}</details>"
