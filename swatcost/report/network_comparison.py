"""Methods on several networks, as a report."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from swatcost.estimate import Estimate
from swatcost.planning.comparison import NetworkComparison
from swatcost.report.comparison import (
    footnote,
    left_out,
    method_notes,
    row_of,
    settings,
    shown,
    sparsity_asked,
    time_notes,
    training_heading,
    training_reductions,
)
from swatcost.report.numbers import scaled
from swatcost.report.sheet import Sheet, Table
from swatcost.report.speedups import figures


def sheet(comparison: NetworkComparison, layers: bool = False) -> Sheet:
    return _sheet(comparison, relative=False)


def relative_sheet(comparison: NetworkComparison, layers: bool = False) -> Sheet:
    """The same with shares of dense in place of reductions."""
    return _sheet(comparison, relative=True)


def _sheet(comparison: NetworkComparison, relative: bool) -> Sheet:
    under = _under_each(comparison)
    one = next(iter(under.values()))
    every = [each for found in comparison.by_network.values() for each in found.values()]
    training = _by_method(
        comparison,
        training_heading(relative),
        lambda each: shown(each.costs.training, relative),
    )
    conventions = [each.convention for each in under.values()]
    below = footnote("training MACs", sparsity_asked(every), conventions, relative)
    return Sheet(
        opening=[f"{len(comparison.estimates)} networks under {', '.join(under)}", settings(every)],
        tables=[
            _dense(comparison),
            training,
            *(
                _by_method(comparison, figure.label, partial(_speedup, place))
                for place, figure in enumerate(figures(one))
            ),
        ],
        notes=[
            f"{'Shares of dense' if relative else 'Reductions'} are of MACs of a training step averaged over the run.",
            *time_notes(every),
            *dict.fromkeys(
                note
                for methods in comparison.estimates.values()
                for note in method_notes({name: next(iter(found.values())) for name, found in methods.items()})
            ),
            *left_out(comparison.refused),
        ],
        paper=replace(training, footnote=below),
    )


def _speedup(place: int, estimate: Estimate) -> str:
    return figures(estimate)[place].value


def _under_each(comparison: NetworkComparison) -> dict[str, Estimate]:
    """The first estimate under each convention."""
    methods = next(iter(comparison.estimates.values()))
    return next(iter(methods.values()))


def _dense(comparison: NetworkComparison) -> Table:
    """What dense training takes under each convention, and executed."""
    under = _under_each(comparison)
    rows = []
    for name, methods in comparison.estimates.items():
        by_convention = next(iter(methods.values()))
        dense = {each: found.costs.training.dense for each, found in by_convention.items()}
        one = by_convention[comparison.convention]
        dense["exact"] = one.exact.training.dense
        rows.append([name, *map(scaled, (one.network.parameter_elements, *dense.values()))])
    heads = [f"training MACs ({each})" for each in {**under, "exact": None}]
    return Table(["dense, per sample", "parameters", *heads], rows, divisible=True)


def _by_method(comparison: NetworkComparison, heading: str, of: Callable[[Estimate], str]) -> Table:
    """One row per method under each convention, one column per network."""
    methods = list(dict.fromkeys(name for found in comparison.estimates.values() for name in found))
    under = list(_under_each(comparison))
    rows = [
        [
            *([convention] if len(under) > 1 else []),
            method,
            *(of(found[method][convention]) if method in found else "" for found in comparison.estimates.values()),
        ]
        for convention in under
        for method in methods
    ]
    words = ["convention", heading] if len(under) > 1 else [heading]
    return Table([*words, *comparison.estimates], rows, text_columns=len(words), divisible=True)


def to_dict(comparison: NetworkComparison) -> dict[str, Any]:
    """Plain data: the totals of every estimate."""
    return {
        "schema": "swatcost.network_comparison/1",
        "convention": comparison.convention,
        "setting": {**comparison.setting.record(), "method": None},
        "by_network": {
            name: {method: each.to_dict()["totals"] for method, each in found.items()}
            for name, found in comparison.by_network.items()
        },
        "matrix": {name: training_reductions(found) for name, found in comparison.estimates.items()},
        "refused": comparison.refused,
    }


def rows(comparison: NetworkComparison) -> list[dict[str, Any]]:
    """One row per network, method and convention."""
    return [
        row_of(each)
        for methods in comparison.estimates.values()
        for found in methods.values()
        for each in found.values()
    ]
