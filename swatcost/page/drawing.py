"""What the figures of an estimate share: rows of layers, their labels and details, axes and colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING, Any

from swatcost.common.colours import BLUE, GREEN, ORANGE, PURPLE, VERMILION
from swatcost.report.estimate import key_of, merged
from swatcost.report.estimate_data import layer_rows
from swatcost.report.numbers import percent, scaled

if TYPE_CHECKING:
    from swatcost.estimate import Estimate

Figure = dict[str, Any]
Row = dict[str, Any]

PASS_COLOURS = {"forward": BLUE, "grad_input": VERMILION, "grad_weight": GREEN, "recompute": PURPLE}
PLAIN, MARKED = BLUE, VERMILION
DIAMONDS: Figure = {
    "type": "scatter",
    "mode": "markers",
    "marker": {"color": ORANGE, "symbol": "diamond", "size": 9, "line": {"width": 1, "color": "#000"}},
}
_LONGEST_LABEL = 30  # characters of a layer's name below an axis
_FONT = "system-ui, sans-serif"


def rows_of(estimate: Estimate) -> list[Row]:
    """A row a layer, without the last, which holds parameters only."""
    return merged(layer_rows(estimate))[:-1]


def exact_reductions(estimate: Estimate) -> dict[tuple[str, ...], float]:
    """By layer, the reduction of training MACs under the convention exact."""
    layers = tuple(replace(each, costs=each.exact) for each in estimate.layers)
    rows = rows_of(replace(estimate, layers=layers))
    dense = {key_of(row): row["training_dense_macs"] for row in rows}
    sparse = {key_of(row): row["training_sparse_macs"] for row in rows}
    return {key: 1 - sparse[key] / dense[key] if dense[key] else 0.0 for key in dense}


def labels_of(rows: Sequence[Row]) -> list[str]:
    """Names short enough for an axis, each once: Plotly would pile up what has one name."""
    labels: list[str] = []
    for row in rows:
        name = str(row["name"])
        short = escape(name if len(name) <= _LONGEST_LABEL else f"…{name[1 - _LONGEST_LABEL :]}")
        met = sum(label == short or label.startswith(f"{short} (") for label in labels)
        labels.append(f"{short} ({met + 1})" if met else short)
    return labels


def described(row: Row, of: str) -> str:
    """What hovering over a layer shows."""
    lines = [f"<b>{escape(str(row['name']))}</b>" + (f" {row['kind']}" if row["kind"] else "")]
    if row["kind"]:
        shapes = [str(row[key]).replace("x", "×") for key in ("input_shape", "weight_shape", "output_shape")]
        lines.append("input {}, weight {}, output {}".format(*(shape or "none" for shape in shapes)))
        lines.append(
            f"weights {100 * row['weight_sparsity']:.4g} % sparse, acts {100 * row['act_sparsity']:.4g} % sparse"
        )
    lines.append(f"{row['params']:,} parameters")
    dense, sparse = row[f"{of}_dense_macs"], row[f"{of}_sparse_macs"]
    if dense and sparse == dense:
        lines.append(f"{of}: {scaled(dense, 'MAC')}, dense")
    elif dense:
        spared = percent(1 - sparse / dense)
        lines.append(f"{of}: {scaled(dense, 'MAC')} dense, {scaled(sparse, 'MAC')} sparse, down {spared}")
    else:
        lines.append(f"{of}: nothing to compute")
    return "<br>".join(lines)


def hover(texts: Sequence[str]) -> Figure:
    """What a trace's marks show, one text each."""
    return {"hovertext": list(texts), "hovertemplate": "%{hovertext}<extra></extra>"}


def layout_of(height: int, **more: Any) -> Figure:
    """What all figures have alike; `more` replaces it."""
    common: Figure = {
        "height": height,
        "margin": {"l": 56, "r": 12, "t": 36, "b": 48, "pad": 2},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": _FONT, "size": 12},
        "hoverlabel": {
            "align": "left",
            "bgcolor": "#fff",
            "bordercolor": "#555",
            "font": {"color": "#111", "family": _FONT},
        },
        "hovermode": "x",
        "dragmode": False,
        "showlegend": False,
        "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "traceorder": "normal"},
        "modebar": {"orientation": "v"},
    }
    return common | more


def axis_of(title: str, **more: Any) -> Figure:
    """An axis with its title."""
    return {"title": {"text": title}, "automargin": True, "fixedrange": True, "gridcolor": "#ddd"} | more


def layer_axis(panels: int) -> Figure:
    """Layers from left to right, named below the lowest panel."""
    lowest = "y" if panels == 1 else f"y{panels}"
    return axis_of("", type="category", showgrid=False, tickangle=-90, tickfont={"size": 10}, anchor=lowest)


def level(y: float, dash: str = "dash") -> Figure:
    """A line across the figure at this height."""
    return {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": y,
        "y1": y,
        "line": {"dash": dash, "color": "#888"},
    }


def note(text: str, x: float, y: float, **more: Any) -> Figure:
    """Words at a place of the figure, in shares of it unless told."""
    return {"text": text, "x": x, "y": y, "xref": "paper", "yref": "paper", "showarrow": False, **more}
