"""The speedup of training against the Top-K period: ideal and attainable, or of a simulated device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from swatcost.common.colours import BLACK
from swatcost.common.errors import SwatcostError
from swatcost.plots.canvas import COLOURS, GREY, LINES, MARKERS, finish, panels
from swatcost.plots.sizes import Size, size_named
from swatcost.report.charts import spaced, speedups
from swatcost.report.numbers import times
from swatcost.report.speedups import kind_of_speedup

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from swatcost.estimate import Estimate
    from swatcost.plots.canvas import Entry

_THIN = 0.9  # lines that mark something, and the attainable speedup
_POINTS_PER_DECADE = 40  # of a curve, whose periods need not be whole: it is smooth
_BEYOND = 100  # times the last break-even period at which the axis ends, before it is rounded up
_LEAST_END = 10**4
_MOST_DECADES = 9  # longer than any run; a later break-even is off the axis
_WRITTEN_OUT = 5  # decades whose powers of ten have room for all their digits


def speedup_by_period(estimates: Estimate | Sequence[Estimate], *, size: str = "screen") -> Figure:
    """Speedup of training against the Top-K period (Eqs. 7 and 8), for one estimate or several.

    A thin line is the attainable speedup. Marked for each: the break-even period (hollow), the estimate's own period
    (filled), and the limit without Top-K (dotted); where no Top-K takes time, nothing but the speedup, which is the
    same at every period. Raises SwatcostError for none, or for more than colours can tell apart.
    """
    at = size_named(size)
    every = [estimates] if not isinstance(estimates, Sequence) else list(estimates)
    if not 1 <= len(every) <= len(COLOURS):
        raise SwatcostError(f"{len(every)} estimates on one plot: give 1 to {len(COLOURS)}")
    (axes,) = panels(at)
    names, shared = _told_apart(every)
    breaks = [each.break_even_period for each in every]
    last = max(_LEAST_END, *(_BEYOND * (each or 1) for each in breaks), *(10 * each.topk_period for each in every))
    decades = min(_MOST_DECADES, math.ceil(math.log10(last)))
    legend: list[Entry] = []
    for place, (estimate, name, first) in enumerate(zip(every, names, breaks, strict=True)):
        shown, selects = speedups(estimate, spaced(decades, _POINTS_PER_DECADE)), bool(estimate.topk_seconds)
        drawn: dict[str, Any] = {"color": COLOURS[place], "linewidth": at.line, "linestyle": LINES[place % len(LINES)]}
        mark: dict[str, Any] = {"marker": MARKERS[place], "markersize": 1.3 * at.marker}
        axes.plot(list(shown.by_period), list(shown.by_period.values()), **drawn, label=f"speedup {name}")
        said = f"{name}: " if name else ""
        said, attainable = f"{said}{kind_of_speedup(estimate)} ", ""
        if shown.attainable:
            axes.plot(
                list(shown.attainable), list(shown.attainable.values()), color=COLOURS[place], linewidth=_THIN,
                linestyle=LINES[place % len(LINES)], label=f"attainable {name}",
            )  # fmt: skip
            attainable = f", attainable {times(shown.attainable[shown.asked])}"
        if not selects:
            (curve,) = axes.plot([], [], **drawn)
            legend.append((curve, f"{said}{times(shown.limit)}{attainable} at every period (no Top-K)"))
            continue
        axes.axhline(shown.limit, color=COLOURS[place], linewidth=0.9, linestyle=":", label=f"limit {name}")
        speedup = shown.by_period[shown.asked]
        (own,) = axes.plot(shown.asked, speedup, **drawn, **mark, label=f"asked for {name}")
        if shown.break_even not in (None, shown.asked):  # one mark would hide the other
            axes.plot(
                shown.break_even, shown.by_period[shown.break_even], linestyle="", **mark, markerfacecolor="white",
                markeredgecolor=COLOURS[place], markeredgewidth=0.7 * at.line, label=f"break-even {name}", zorder=3,
                clip_on=False,
            )  # fmt: skip
        even = "never breaks even" if first is None else f"breaks even at {first:,}"
        told = f"{said}{times(speedup)}{attainable} at {shown.asked:,}"
        legend.append((own, f"{told}, {even}, limit {times(shown.limit)}"))
    dense = axes.axhline(1, color=BLACK, linewidth=0.9, label="dense")
    legend += _key(axes, at, breaks) if any(each.topk_seconds for each in every) else []
    legend += [(dense, "dense training")]
    axes.set_xscale("log")
    axes.set_xlim(1, 10**decades)
    if decades <= _WRITTEN_OUT:
        axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylim(0, 1.08 * max(1.0, *(each.speedup_limit for each in every)))
    axes.set(xlabel="Top-K period [iterations]", ylabel="speedup [×]")
    networks = dict.fromkeys(each.network.name for each in every)
    return finish(
        axes,
        at,
        title=f"{', '.join(networks)}: speedup against the Top-K period",
        caption=shared,
        legend=legend,
    )


def _key(axes: Axes, at: Size, breaks: Sequence[int | None]) -> list[Entry]:
    """What the marks of every curve mean."""
    mark: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 1.3 * at.marker, "color": GREY}
    (even,) = axes.plot([], [], **mark, markerfacecolor="white", markeredgewidth=0.7 * at.line)
    (own,) = axes.plot([], [], **mark)
    (limit,) = axes.plot([], [], color=GREY, linewidth=_THIN, linestyle=":")
    (attainable,) = axes.plot([], [], color=GREY, linewidth=_THIN)
    found: list[Entry] = [(own, "chosen period"), (limit, "limit without Top-K"), (attainable, "attainable")]
    return [(even, "break-even period"), *found] if any(each is not None for each in breaks) else found


def _told_apart(every: Sequence[Estimate]) -> tuple[list[str], str]:
    """A name for each, of the settings that differ, and a sentence of those that all share."""
    aspects = [
        [each.network.name for each in every],
        *([each.plan.method.name for each in every], [each.plan.distribution.name for each in every]),
        *([_target(name, getattr(each.plan, name)) for each in every] for name in ("weights", "acts", "grads")),
        [f"convention {each.convention.name}" for each in every],
        [_machine(each) for each in every],
        [f"batch {each.batch_size}" for each in every],
        [_selecting(each) for each in every],
    ]
    differing = [aspect for aspect in aspects if len(set(aspect)) > 1]
    names = (
        [", ".join(filter(None, parts)) for parts in zip(*differing, strict=True)] if differing else [""] * len(every)
    )
    shared = ", ".join(aspect[0] for aspect in aspects[1:] if len(set(aspect)) == 1 and aspect[0])
    return names, f"{shared}." if shared else ""


def _machine(estimate: Estimate) -> str:
    """The device, and the source of its times if they are not measured."""
    source = "" if estimate.device.measured else " (data sheet)"
    return estimate.device.name + (source if estimate.simulated_reduction is None else " (simulated)")


def _target(name: str, target: float | None) -> str:
    words = {"acts": "activations", "grads": "outputs"}
    return "" if target is None else f"{words.get(name, name)} {100 * target:.4g} % sparse"


def _selecting(estimate: Estimate) -> str:
    """The chosen ideas of A.4."""
    chosen = estimate.selecting
    parts = (chosen.algorithm, "Top-K on one sample" * chosen.one_sample, "Top-K hidden" * chosen.hidden)
    return ", ".join(filter(None, parts))
