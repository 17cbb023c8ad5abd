"""A comparison as a table, Markdown, LaTeX, CSV or JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from swatcost.conventions import as_rigl_counts, as_swat_counts
from swatcost.costs import Cost
from swatcost.planning.comparing import remaining, where_they_differ
from swatcost.report.content import Table, title
from swatcost.report.numbers import percent, times
from swatcost.report.rows import totals_by_name
from swatcost.report.sheet import Sheet
from swatcost.report.sheet import render as render_sheet

if TYPE_CHECKING:
    from swatcost.estimate import Estimate
    from swatcost.planning import Comparison


def render(comparison: Comparison, format: str, *, width: int = 80) -> str:
    """The comparison as text in one of FORMATS; ends in a newline."""
    return render_sheet(sheet(comparison), format, width=width)


def sheet(comparison: Comparison) -> Sheet:
    """What it says, whatever the form."""
    return Sheet(
        opening=[title(comparison.by_convention[comparison.convention].network)],
        tables=[
            _table(f"under {comparison.convention}", comparison.by_method),
            _table(f"{comparison.method} under", comparison.by_convention),
        ],
        notes=notes(comparison),
        data=lambda: to_dict(comparison),
        rows=lambda: _rows(comparison),
    )


def notes(comparison: Comparison) -> list[str]:
    """Where conventions differ, in words, and which methods could not be estimated."""
    sentences = ["Reductions are of MACs: of each pass, of a training step on average over the run, and of inference."]
    by_method = comparison.by_method
    if comparison.by_convention[comparison.convention].convention.density is as_swat_counts:
        charged = [name for name, each in by_method.items() if each.plan.method.relies_on_default_sparsity]
        default = comparison.by_convention[comparison.convention].default_act_sparsity
        sentences.append(
            f"{comparison.convention} charges {', '.join(charged)} {percent(1 - default)} of the dense grad_weight, "
            "for the zeros that ReLU leaves; exact follows what each needs: gradients of active weights, or of all."
        )
    if comparison.by_convention[comparison.convention].convention.density is as_rigl_counts:
        sentences.append("rigl counts weight sparsity only: sparse activations and outputs make no difference.")
    for name, each in by_method.items():
        if reasons := {why for why in each.plan.kept_dense.values() if why.startswith("as ")}:
            kept = [weight for weight, why in each.plan.kept_dense.items() if why in reasons]
            sentences.append(f"{name} keeps {len(kept)} more layers dense ({', '.join(reasons)}).")
    base = comparison.by_convention[comparison.convention]
    for name, other in comparison.by_convention.items():
        in_pass = where_they_differ(base, other)
        if in_pass is not None:
            sentences.append(
                f"{comparison.method} is down {percent(base.training_reduction)} as {comparison.convention} counts and "
                f"{percent(other.training_reduction)} as {name} counts, mostly for {in_pass}: what is left of it is "
                f"{percent(remaining(base, in_pass))} of dense training under {comparison.convention} and "
                f"{percent(remaining(other, in_pass))} under {name}."
            )
    return sentences + [f"{name} is left out: {reason}." for name, reason in comparison.refused.items()]


def to_dict(comparison: Comparison) -> dict[str, Any]:
    """Plain data: the totals of every estimate."""
    plan = comparison.by_convention[comparison.convention].plan
    network = comparison.by_convention[comparison.convention].network
    return {
        "schema": "swatcost.comparison/1",
        "method": comparison.method,
        "convention": comparison.convention,
        "model": network.name,
        "distribution": plan.distribution.name,
        "weights": plan.weights,
        "by_method": {name: each.to_dict()["totals"] for name, each in comparison.by_method.items()},
        "by_convention": {name: each.to_dict()["totals"] for name, each in comparison.by_convention.items()},
        "notes": notes(comparison),
    }


def _table(heading: str, estimates: Mapping[str, Estimate]) -> Table:
    header = [heading, "forward", "grad\ninput", "grad\nweight", "training", "infer\nence", "speedup"]
    rows = [
        [name, *(percent(cost.reduction) for cost in _compared(each).values()), times(each.speedup)]
        for name, each in estimates.items()
    ]
    return Table(header, rows)


def _compared(estimate: Estimate) -> dict[str, Cost]:
    return {name: cost for name, cost in totals_by_name(estimate.costs).items() if name != "recompute"}


def _rows(comparison: Comparison) -> list[dict[str, Any]]:
    return [
        {
            "method": each.plan.method.name,
            "convention": each.convention.name,
            **{f"{name}_reduction": cost.reduction for name, cost in _compared(each).items()},
            "model_compression": each.model_compression,
            "speedup": each.speedup,
        }
        for each in [*comparison.by_method.values(), *comparison.by_convention.values()]
    ]
