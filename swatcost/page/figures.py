"""An estimate as Plotly figures: plain data, which a page or a notebook draws.

A figure is {"data": traces, "layout": layout}, as Plotly has them. What a user named (networks, layers, files) is
escaped: Plotly reads tags in texts. Colours of text and grid are left to the page that draws.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from swatcost.counting.costs import AGREEMENT
from swatcost.page.drawing import (
    DIAMONDS,
    MARKED,
    PASS_COLOURS,
    PLAIN,
    Figure,
    Row,
    axis_of,
    described,
    exact_reductions,
    hover,
    labels_of,
    layer_axis,
    layout_of,
    level,
    note,
    rows_of,
)
from swatcost.report.estimate import key_of
from swatcost.report.numbers import column_unit, percent, scaled, seconds, times

if TYPE_CHECKING:
    from swatcost.estimate import Estimate

_PALE = 0.28  # opacity of what is dense, beside what is sparse
_SHOWN_LAYERS = 15  # bars of the remaining work; the sum of the others is said in words
_CHART_PIXELS, _PANEL_PIXELS, _FRAME_PIXELS, _BAR_PIXELS = 390, 150, 120, 22
_WIDEST_SCALE = 20  # times the largest bar of a panel: on a wider one its bars could not be told apart
_DECADES_BEYOND = 1  # of periods, past the one that was asked for
_LAST_DECADE = 4  # periods are drawn up to 10^4 at least
_POINTS_A_DECADE = 24


def figures_of(estimate: Estimate) -> dict[str, Figure]:
    """All figures that say something about this estimate, by name."""
    sparse = estimate.plan.asks_for_sparsity
    drawn = {"work": work(estimate)}
    if sparse:
        drawn["reduction"] = reduction(estimate)
    drawn["remaining"] = remaining(estimate)
    if sparse and estimate.plan.method.selects:
        drawn["period"] = period(estimate)
    return drawn


def work(estimate: Estimate) -> Figure:
    """MACs by layer, a panel a pass: dense pale, sparse full; on one scale unless a panel were empty then."""
    rows, sparse = rows_of(estimate), estimate.plan.asks_for_sparsity
    passes = [each for each in PASS_COLOURS if each != "recompute" or estimate.costs.recompute.dense]
    most = [max(row[f"{each}_dense_macs"] for row in rows) for each in passes]
    alike = min(most) * _WIDEST_SCALE >= max(most)
    prefix, unit = column_unit(1e3 * max(most))
    labels, traces, titles = labels_of(rows), [], []
    axes: Figure = {"xaxis": layer_axis(len(passes))}
    height = 1 / len(passes)
    for place, each in enumerate(passes):
        axis = "" if place == 0 else str(place + 1)
        bottom = 1 - (place + 1) * height
        axes[f"yaxis{axis}"] = axis_of(
            "" if place else f"{prefix}MAC a sample", domain=[bottom, bottom + 0.78 * height], nticks=4
        ) | ({"matches": "y"} if place and alike else {})
        title = _pass_title(estimate, each) + ("" if alike else ", on a scale of its own")
        titles.append(note(title, 0, bottom + 0.8 * height, xanchor="left", yanchor="bottom"))
        details = hover([described(row, each) for row in rows])
        shown = [("dense", _PALE if sparse else 1.0), ("sparse", 1.0)] if sparse else [("dense", 1.0)]
        for how, opacity in shown:
            traces.append(
                {
                    "type": "bar",
                    "name": how,
                    "x": labels,
                    "y": [row[f"{each}_{how}_macs"] / unit for row in rows],
                    "yaxis": f"y{axis}",
                    "marker": {"color": PASS_COLOURS[each], "opacity": opacity},
                    **(details if how == "dense" else {"hoverinfo": "skip"}),  # once for the two
                }
            )
    layout = layout_of(len(passes) * _PANEL_PIXELS + _FRAME_PIXELS, barmode="overlay", bargap=0.15, annotations=titles)
    layout["margin"] = layout["margin"] | {"t": 0}
    return {"data": traces, "layout": layout | axes}


def _pass_title(estimate: Estimate, name: str) -> str:
    cost = estimate.costs.by_part()[name]
    if not estimate.plan.asks_for_sparsity:
        return f"<b>{name}</b>  {scaled(cost.dense, 'MAC')}"
    return f"<b>{name}</b>  {scaled(cost.dense, 'MAC')} → {scaled(cost.sparse, 'MAC')}"


def reduction(estimate: Estimate) -> Figure:
    """Each layer's reduction of training MACs, that of exact where it is another, and the network's as a line."""
    rows = [row for row in rows_of(estimate) if row["training_dense_macs"]]
    exact = exact_reductions(estimate)
    labels, total = labels_of(rows), estimate.training_reduction
    counted = [1 - row["training_sparse_macs"] / row["training_dense_macs"] for row in rows]
    executed = [exact[key_of(row)] for row in rows]
    details = [
        f"{described(row, 'training')}<br>by convention exact down {percent(other)}"
        + (f"<br>kept dense: {escape(row['kept_dense'])}" if row["kept_dense"] else "")
        for row, other in zip(rows, executed, strict=True)
    ]
    bars = {
        "type": "bar",
        "name": f"convention {escape(estimate.convention.name)}",
        "x": labels,
        "y": [100 * each for each in counted],
        "marker": {"color": PLAIN},
        **hover(details),
    }
    network = {
        "type": "scatter",
        "mode": "lines",
        "name": f"network: {percent(total)}",
        "x": labels,
        "y": [100 * total] * len(rows),
        "line": {"color": MARKED, "width": 2, "dash": "dash"},
        "hoverinfo": "skip",
    }
    traces: list[Figure] = [bars, network]
    differ = [place for place, each in enumerate(executed) if abs(each - counted[place]) > AGREEMENT]
    if differ:
        points = {
            "name": "convention exact",
            "x": [labels[place] for place in differ],
            "y": [100 * executed[place] for place in differ],
            "hoverinfo": "skip",
        }
        traces.append(DIAMONDS | points)
    ends = [0.0, *counted, *executed]
    layout = layout_of(
        _CHART_PIXELS,
        bargap=0.15,
        xaxis=layer_axis(1) | {"range": [-0.5, len(rows) - 0.5]},
        yaxis=axis_of("reduction of training FLOPs [%]", range=[105 * min(ends), max(5, 105 * max(ends))]),
        showlegend=True,
    )
    return {"data": traces, "layout": layout}


def remaining(estimate: Estimate) -> Figure:
    """The layers that cost most after sparsity, as shares of what is left, by pass; beside their shares when dense."""
    sparse = estimate.plan.asks_for_sparsity
    how = "sparse" if sparse else "dense"
    total = {each: sum(row[f"training_{each}_macs"] for row in rows_of(estimate)) for each in ("dense", "sparse")}
    rows = sorted(rows_of(estimate), key=lambda row: -row[f"training_{how}_macs"])
    shown, others = rows[:_SHOWN_LAYERS], rows[_SHOWN_LAYERS:]
    labels = labels_of(shown)
    details = [f"{described(row, 'training')}<br>{_share(row, how, total)}" for row in shown]
    traces: list[Figure] = [
        {
            "type": "bar",
            "orientation": "h",
            "name": each,
            "y": labels,
            "x": [100 * row[f"{each}_{how}_macs"] / total[how] for row in shown],
            "marker": {"color": colour},
            **hover(details),
        }
        for each, colour in PASS_COLOURS.items()
        if each != "recompute" or estimate.costs.recompute.dense
    ]
    if sparse:
        traces.append(
            DIAMONDS
            | {
                "name": "share when dense",
                "y": labels,
                "x": [100 * row["training_dense_macs"] / total["dense"] for row in shown],
                **hover(details),
            }
        )
    left = "what is left of training" if sparse else "dense training"
    rest = ""
    if others:
        plural = "s" if len(others) > 1 else ""
        together = sum(row[f"training_{how}_macs"] for row in others) / total[how]
        rest = f"<br>{len(others)} other layer{plural}: {percent(together)}"
    layout = layout_of(
        len(shown) * _BAR_PIXELS + _FRAME_PIXELS,
        barmode="stack",
        bargap=0.25,
        hovermode="closest",
        xaxis=axis_of(f"share of {left} [%]{rest}", rangemode="tozero"),
        yaxis=axis_of("", autorange="reversed", type="category", showgrid=False, ticksuffix=" "),
        showlegend=True,
    )
    return {"data": traces, "layout": layout}


def _share(row: Row, how: str, total: dict[str, float]) -> str:
    when_dense = f"{percent(row['training_dense_macs'] / total['dense'])} of dense training"
    if how == "dense":
        return when_dense
    return f"{percent(row['training_sparse_macs'] / total['sparse'])} of what is left, {when_dense}"


def period(estimate: Estimate) -> Figure:
    """Speedup against the Top-K period, with the limit, where it breaks even, and the period that was asked for."""
    decades = max(_LAST_DECADE, len(str(estimate.topk_period)) + _DECADES_BEYOND)
    drawn = {round(10 ** (step / _POINTS_A_DECADE)) for step in range(decades * _POINTS_A_DECADE + 1)}
    limit, even, asked = estimate.speedup_limit, estimate.break_even_period, estimate.topk_period
    shown = {asked} if even is None or even > 10**decades else {asked, even}
    periods = sorted(drawn | shown)
    speedups = {each: estimate.speedup_every(each) for each in periods}
    details = {each: f"{_every(each)}: {times(at)}" for each, at in speedups.items()}
    if even in shown:
        details[even] += "<br>from here on no slower than dense"
    details[asked] += (
        f"<br>one Top-K {seconds(estimate.topk_seconds)}, dense step {seconds(estimate.dense_step.seconds)}"
    )
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "speedup",
            "x": periods,
            "y": list(speedups.values()),
            "line": {"color": PLAIN, "width": 2.5},
            **hover(list(details.values())),
        }
    ]
    if even in shown:
        breaks = {"name": f"break-even: {_every(even)}", "x": [even], "y": [speedups[even]], **hover([details[even]])}
        traces.append(DIAMONDS | breaks)
    traces.append(
        DIAMONDS
        | {
            "name": f"asked for: {_every(asked)}",
            "x": [asked],
            "y": [speedups[asked]],
            "marker": {"color": MARKED, "size": 11},
            **hover([details[asked]]),
        }
    )
    notes = [
        note(f"limit without Top-K: {times(limit)}", 0, limit, yref="y", xanchor="left", yanchor="bottom"),
        note("as fast as dense", 1, 1.0, yref="y", xanchor="right", yanchor="top"),
    ]
    layout = layout_of(
        _CHART_PIXELS,
        xaxis=axis_of("Top-K period [iterations]", type="log", dtick=1, tickformat=",d"),
        yaxis=axis_of("speedup over dense training [×]", range=[0, 1.15 * max(limit, 1.0)]),
        shapes=[level(y=limit), level(y=1.0, dash="dot")],
        annotations=notes,
        hovermode="closest",
        showlegend=True,
    )
    return {"data": traces, "layout": layout}


def _every(period: int) -> str:
    return "every iteration" if period == 1 else f"every {period:,} iterations"
