"""The charts of an estimate as Plotly figures: plain data, {"data": series, "layout": layout}, for pages to draw."""

from dataclasses import dataclass
from html import escape

from swatcost.common.colours import BLUE, GREEN, PURPLE, VERMILION
from swatcost.counting.costs import AGREEMENT
from swatcost.estimate import Estimate
from swatcost.page.plotly_parts import (
    Figure,
    axis,
    described,
    figure,
    labels_of,
    layer_axis,
    level,
    line,
    marks,
    note,
    series,
)
from swatcost.report.charts import executed, layer_costs, spaced, speedups
from swatcost.report.estimate import every
from swatcost.report.numbers import axis_unit, percent, scaled, seconds, times
from swatcost.report.speedups import speedup_name

CHARTS = {
    "work": (
        "Work by layer and pass",
        "MACs per sample of each layer in execution order: dense in pale colours, sparse in full ones.",
    ),
    "reduction": (
        "Reduction by layer",
        "The reduction of each layer's training MACs; diamonds show the exact convention where it differs.",
    ),
    "remaining": (
        "Where the remaining work is",
        "The layers that cost most, largest first. Diamonds show their shares of dense training.",
    ),
    "period": (
        "Speedup against the Top-K period",
        "Ideal: from FLOPs alone (Eqs. 7 and 8); attainable: with known kernels. The longer the thresholds "
        "of a Top-K are kept, the less it costs per step.",
    ),
}
"""Each figure's title, and a sentence on how to read it."""

_DENSE_CHARTS = {
    "work": (CHARTS["work"][0], "MACs per sample of each layer in execution order."),
    "remaining": ("Where the work is", "The layers that cost most, largest first, as shares of dense training."),
}
_SIMULATED_CHARTS = {
    "period": (
        "Speedup against the Top-K period",
        "From simulated cycles. The longer the thresholds of a Top-K are kept, the less it costs per step.",
    ),
}
_PASSES = {"forward": BLUE, "grad_input": VERMILION, "grad_weight": GREEN, "recompute": PURPLE}
_PATTERNS = {"forward": "", "grad_input": "/", "grad_weight": ".", "recompute": "x"}  # stacked, they differ in grey too
_PLAIN, _MARKED = BLUE, VERMILION
_PALE = 0.28  # opacity of dense bars behind sparse ones
_SHOWN_LAYERS = 15  # bars of the remaining work; the sum of the others is given in words
_CHART_PIXELS, _PANEL_PIXELS, _FRAME_PIXELS, _BAR_PIXELS = 390, 150, 120, 22
_WIDEST_SCALE = 20  # times the largest bar of a panel: on a wider scale its bars would be too low to compare
_DECADES_BEYOND = 1  # of periods, past the chosen one
_LAST_DECADE = 4  # periods are drawn up to 10^4 at least
_POINTS_PER_DECADE = 24  # of the curve, at whole periods, which the pointer reads out


@dataclass(frozen=True)
class Chart:
    """A figure with its title and how to read it."""

    name: str
    title: str
    caption: str
    figure: Figure


def charts(estimate: Estimate) -> list[Chart]:
    """The figures of an estimate in the order in which they are read."""
    words = CHARTS if estimate.plan.asks_for_sparsity else _DENSE_CHARTS
    if estimate.simulated_reduction is not None:
        words = {**words, **_SIMULATED_CHARTS}
    return [Chart(name, *words[name], drawn) for name, drawn in figures_of(estimate).items()]


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
    """MACs by layer, one panel per pass: dense pale, sparse full; on one scale unless a panel were empty then."""
    shown, sparse = layer_costs(estimate), estimate.plan.asks_for_sparsity
    most = [max(cost.dense for cost in each.layers) for each in shown.passes]
    alike = min(most) * _WIDEST_SCALE >= max(most)
    prefix, unit = axis_unit(max(most))
    labels, data, titles = labels_of(shown.rows), [], []
    panels = len(shown.passes)
    axes: Figure = {"xaxis": layer_axis(panels)}
    for place, each in enumerate(shown.passes):
        number = str(place + 1) if place else ""
        bottom = 1 - (place + 1) / panels
        axes[f"yaxis{number}"] = axis(
            "" if place else f"{prefix}MAC per sample", domain=[bottom, bottom + 0.78 / panels], nticks=4
        ) | ({"matches": "y"} if place and alike else {})
        amounts = scaled(each.network.dense, "MAC") + f" → {scaled(each.network.sparse, 'MAC')}" * sparse
        title = f"<b>{each.name}</b>  {amounts}" + ", on a scale of its own" * (not alike)
        titles.append(note(title, 0, bottom + 0.8 / panels, "left", "bottom"))
        details = [described(row, each.name) for row in shown.rows]  # once for the two
        bars = {"dense": [cost.dense / unit for cost in each.layers]}
        if sparse:
            bars["sparse"] = [cost.sparse / unit for cost in each.layers]
        for name, heights in bars.items():
            look = {"color": _PASSES[each.name], "opacity": _PALE if sparse and name == "dense" else 1.0}
            texts = details if name == "dense" else ()
            data.append(series("bar", name, labels, heights, texts, yaxis=f"y{number}", marker=look))
    drawn = figure(
        panels * _PANEL_PIXELS + _FRAME_PIXELS, data, barmode="overlay", bargap=0.15, annotations=titles,
        showlegend=False, **axes,
    )  # fmt: skip
    drawn["layout"]["margin"]["t"] = 0
    return drawn


def reduction(estimate: Estimate) -> Figure:
    """Each layer's reduction of training MACs, that of exact where it is another, and the network's as a line."""
    shown, total = layer_costs(estimate), estimate.training_reduction
    parts = zip(shown.rows, shown.training.reductions, executed(estimate).reductions, strict=True)
    rows, counted, exact = zip(*(each for each in parts if each[0]["training_dense_macs"]), strict=True)
    labels = labels_of(rows)
    details = [
        f"{described(row, 'training')}<br>under the exact convention down {percent(other / 100)}"
        + (f"<br>kept dense: {escape(row['kept_dense'])}" if row["kept_dense"] else "")
        for row, other in zip(rows, exact, strict=True)
    ]
    name = f"{escape(estimate.convention.name)} convention"
    data = [
        series("bar", name, labels, counted, details, marker={"color": _PLAIN}),
        line(f"network: {percent(total)}", labels, [100 * total] * len(rows), color=_MARKED, width=2, dash="dash"),
    ]
    both = zip(labels, counted, exact, strict=True)
    differ = {label: other for label, one, other in both if abs(one - other) > 100 * AGREEMENT}
    if differ:
        data.append(marks("exact convention", list(differ), list(differ.values())))
    ends = [0.0, *counted, *exact]
    return figure(
        _CHART_PIXELS,
        data,
        bargap=0.15,
        xaxis=layer_axis(1, range=[-0.5, len(rows) - 0.5]),
        yaxis=axis("reduction of training MACs [%]", range=[1.05 * min(ends), 105]),
    )


def remaining(estimate: Estimate) -> Figure:
    """The layers that cost most after sparsity, as shares of the remaining MACs by pass, and of dense training."""
    costs, sparse = layer_costs(estimate), estimate.plan.asks_for_sparsity
    ranked = costs.ranked
    shown, others = ranked[:_SHOWN_LAYERS], ranked[_SHOWN_LAYERS:]
    rows = [costs.rows[each.layer] for each in shown]
    labels = labels_of(rows)
    details = [
        f"{described(row, 'training')}<br>"
        + f"{percent(each.left / 100)} of remaining MACs, " * sparse
        + f"{percent(each.dense / 100)} of dense training"
        for row, each in zip(rows, shown, strict=True)
    ]
    data = []
    for each in costs.passes:
        widths, colour = (
            [share.by_pass[each.name] for share in shown],
            {"color": _PASSES[each.name], "pattern": _pattern(each.name)},
        )
        data.append(series("bar", each.name, widths, labels, details, orientation="h", marker=colour))
    if sparse:
        data.append(marks("share of dense training", [each.dense for each in shown], labels, details))
    left = "remaining MACs" if sparse else "dense MACs"
    rest = ""
    if others:
        together = percent(sum(each.left for each in others) / 100)
        rest = f"<br>{len(others)} other layer{'s' * (len(others) > 1)}: {together}"
    return figure(
        len(shown) * _BAR_PIXELS + _FRAME_PIXELS,
        data,
        barmode="stack",
        bargap=0.25,
        hovermode="closest",
        xaxis=axis(f"{left} [%]{rest}", rangemode="tozero"),
        yaxis=axis("", autorange="reversed", type="category", showgrid=False, ticksuffix=" "),
    )


def period(estimate: Estimate) -> Figure:
    """Speedup against the Top-K period, with the limit, where it breaks even, and the chosen period."""
    kind = speedup_name(estimate)
    decades = max(_LAST_DECADE, len(str(estimate.topk_period)) + _DECADES_BEYOND)
    shown = speedups(estimate, map(round, spaced(decades, _POINTS_PER_DECADE)))
    asked, even, limit = shown.asked, shown.break_even, shown.limit
    details = {each: f"{every(each)}: {kind} {times(speedup)}" for each, speedup in shown.by_period.items()}
    if even is not None:
        details[even] += "<br>from here on at least as fast as dense"
    topk, step = seconds(estimate.topk_seconds), seconds(estimate.dense_step.seconds)
    details[asked] += f"<br>one Top-K {topk}, dense step {step}"
    periods, values = list(shown.by_period), list(shown.by_period.values())
    data = [line(kind, periods, values, list(details.values()), color=_PLAIN, width=2.5)]
    if shown.attainable:
        said = [f"{every(each)}: attainable speedup {times(speedup)}" for each, speedup in shown.attainable.items()]
        data.append(line("attainable speedup", periods, [*shown.attainable.values()], said, color=_MARKED, width=2.5))
    if even is not None:
        data.append(marks(f"break-even: {every(even)}", [even], [shown.by_period[even]], [details[even]]))
    circle = {"color": _MARKED, "size": 11}
    data.append(marks(f"chosen: {every(asked)}", [asked], [shown.by_period[asked]], [details[asked]], circle))
    return figure(
        _CHART_PIXELS,
        data,
        xaxis=axis("Top-K period [iterations]", type="log", dtick=1, tickformat=",d"),
        yaxis=axis("speedup [×]", range=[0, 1.15 * max(limit, 1.0)]),
        shapes=[level(y=limit), level(y=1.0, dash="dot")],
        annotations=[
            note(f"limit without Top-K: {times(limit)}", 0, limit, "left", "bottom", yref="y"),
            note("dense training", 1, 1.0, "right", "top", yref="y"),
        ],
        hovermode="closest",
    )


def _pattern(name: str) -> Figure:
    """What fills the bars of a pass beside its colour."""
    return {"shape": _PATTERNS[name], "size": 6, "solidity": 0.2, "fillmode": "overlay", "fgcolor": "#fff"}
