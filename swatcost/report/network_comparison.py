"""Every method on several networks, as a report."""

from collections.abc import Callable
from typing import Any

from swatcost.estimate import Estimate
from swatcost.planning.comparison import NetworkComparison
from swatcost.report.comparison import estimate_rows, settings, time_notes
from swatcost.report.numbers import percent, scaled, times
from swatcost.report.sheet import Sheet, Table


def sheet(comparison: NetworkComparison, layers: bool = False) -> Sheet:
    methods = list(dict.fromkeys(name for found in comparison.by_network.values() for name in found))

    def table(heading: str, of: Callable[[Estimate], str]) -> Table:
        lines = [
            [method, *(of(found[method]) if method in found else "" for found in comparison.by_network.values())]
            for method in methods
        ]
        return Table([heading, *comparison.by_network], lines)

    one_of = {name: next(iter(found.values())) for name, found in comparison.by_network.items()}
    dense = [
        [name, *map(scaled, (one.network.parameter_elements, one.costs.training.dense, one.exact.training.dense))]
        for name, one in one_of.items()
    ]
    return Sheet(
        opening=[
            f"{len(comparison.by_network)} networks under {comparison.convention}",
            settings(each for found in comparison.by_network.values() for each in found.values()),
        ],
        tables=[
            Table(["dense, a sample", "parameters", "training MACs", "exact"], dense),
            table("training reduction", lambda each: percent(each.training_reduction)),
            table("speedup", lambda each: times(each.speedup)),
        ],
        notes=[
            "Reductions are of MACs of a training step on average over the run.",
            *time_notes([each for found in comparison.by_network.values() for each in found.values()]),
            *(f"{name} is left out: {reason}." for name, reason in comparison.refused.items()),
        ],
    )


def to_dict(comparison: NetworkComparison) -> dict[str, Any]:
    """Plain data: the totals of every estimate."""
    return {
        "schema": "swatcost.network_comparison/1",
        "convention": comparison.convention,
        "setting": next(iter(next(iter(comparison.by_network.values())).values())).setting.record(),
        "by_network": {
            name: {method: each.to_dict()["totals"] for method, each in found.items()}
            for name, found in comparison.by_network.items()
        },
        "refused": comparison.refused,
    }


def rows(comparison: NetworkComparison) -> list[dict[str, Any]]:
    """One row per network and method."""
    return [
        {"model": name, **row}
        for name, found in comparison.by_network.items()
        for row in estimate_rows(list(found.values()))
    ]
