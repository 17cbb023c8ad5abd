"""Parts of Plotly figures as plain data: series, axes, layouts, and the texts on them.

What a user named (networks, layers, files) is escaped, since Plotly reads tags in texts. The page chooses the colours
of text and grid.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

from swatcost.common.colours import ORANGE
from swatcost.report.charts import Row
from swatcost.report.numbers import percent, scaled

Figure = dict[str, Any]

DIAMOND: Figure = {"color": ORANGE, "symbol": "diamond", "size": 9, "line": {"width": 1, "color": "#000"}}
_LONGEST_LABEL = 30  # characters of a layer's name below an axis
_FONT = "system-ui, sans-serif"


def series(kind: str, name: str, x: Sequence[Any], y: Sequence[Any], texts: Sequence[str] = (), **look: Any) -> Figure:
    """Bars or a scatter; the pointer shows one text for each of its marks, or nothing."""
    hover = {"hovertext": list(texts), "hovertemplate": "%{hovertext}<extra></extra>"} if texts else {}
    return {"type": kind, "name": name, "x": x, "y": y, **(hover or {"hoverinfo": "skip"}), **look}


def line(name: str, x: Sequence[Any], y: Sequence[Any], texts: Sequence[str] = (), **look: Any) -> Figure:
    """A line through the points."""
    return series("scatter", name, x, y, texts, mode="lines", line=look)


def marks(name: str, x: Sequence[Any], y: Sequence[Any], texts: Sequence[str] = (), marker: Figure = DIAMOND) -> Figure:
    """A mark at each point, a diamond unless another is given."""
    return series("scatter", name, x, y, texts, mode="markers", marker=marker)


def labels_of(rows: Sequence[Row]) -> list[str]:
    """Names of layers, short enough for an axis and unique: Plotly would stack bars of the same name."""
    labels: list[str] = []
    for row in rows:
        name = str(row["name"])
        short = escape(name if len(name) <= _LONGEST_LABEL else f"…{name[1 - _LONGEST_LABEL :]}")
        met = sum(label == short or label.startswith(f"{short} (") for label in labels)
        labels.append(f"{short} ({met + 1})" if met else short)
    return labels


def described(row: Row, of: str) -> str:
    """The hover text of a layer; `of` is a pass or training."""
    lines = [f"<b>{escape(str(row['name']))}</b>" + (f" {row['kind']}" if row["kind"] else "")]
    if row["kind"]:
        shapes = [str(row[key]).replace("x", "×") for key in ("input_shape", "weight_shape", "output_shape")]
        lines.append("input {}, weight {}, output {}".format(*(shape or "none" for shape in shapes)))
        lines.append(
            f"weights {100 * row['weight_sparsity']:.4g} % sparse, activations {100 * row['act_sparsity']:.4g} % sparse"
        )
    lines.append(f"{row['params']:,} parameters")
    dense, sparse = row[f"{of}_dense_macs"], row[f"{of}_sparse_macs"]
    if dense and sparse == dense:
        lines.append(f"{of}: {scaled(dense, 'MAC')}, dense")
    elif dense:
        less = percent(1 - sparse / dense)
        lines.append(f"{of}: {scaled(dense, 'MAC')} dense, {scaled(sparse, 'MAC')} sparse, down {less}")
    else:
        lines.append(f"{of}: no work")
    return "<br>".join(lines)


def figure(height: int, data: list[Figure], **layout: Any) -> Figure:
    """A figure as Plotly has it; `layout` replaces what all figures have in common."""
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
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "traceorder": "normal"},
        "modebar": {"orientation": "v"},
    }
    return {"data": data, "layout": common | layout}


def axis(title: str, **more: Any) -> Figure:
    """An axis with its title."""
    return {"title": {"text": title}, "automargin": True, "fixedrange": True, "gridcolor": "#ddd"} | more


def layer_axis(panels: int, **more: Any) -> Figure:
    """Layers from left to right, named below the lowest panel."""
    lowest = "y" if panels == 1 else f"y{panels}"
    return axis("", type="category", showgrid=False, tickangle=-90, tickfont={"size": 10}, anchor=lowest, **more)


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


def note(text: str, x: float, y: float, xanchor: str, yanchor: str, **more: Any) -> Figure:
    """Words at a place of the figure, in fractions of it by default."""
    place = {"x": x, "y": y, "xref": "paper", "yref": "paper", "xanchor": xanchor, "yanchor": yanchor}
    return {"text": text, "showarrow": False} | place | more
