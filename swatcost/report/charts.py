"""What the charts of an estimate show, as plain numbers: the plots for papers and the page's charts draw them.

Colours, how names are shortened and how far an axis goes are each medium's own: a paper may be printed in grey on a
column of 3.5 inches, while a page paints dense bars pale and shows details under the pointer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from swatcost.counting.costs import Cost
from swatcost.estimate import Estimate
from swatcost.report.estimate import merged
from swatcost.report.estimate_data import layer_rows
from swatcost.report.speedups import is_simulated

Row = dict[str, Any]


@dataclass(frozen=True)
class Work:
    """MACs per sample in one pass, or in all of training: of the network, and of each layer in execution order."""

    name: str
    network: Cost
    layers: tuple[Cost, ...]

    @property
    def reductions(self) -> list[float]:
        """The reduction of each layer [% of its dense MACs]."""
        return [100 * each.reduction for each in self.layers]


@dataclass(frozen=True)
class LayerCosts:
    """The layers' rows in execution order, their work in training, and in each pass that has any."""

    rows: tuple[Row, ...]
    training: Work
    passes: tuple[Work, ...]

    @property
    def names(self) -> list[str]:
        """A unique name for each layer."""
        return unique_names([(str(row["name"]), row["kind"], row["weight"]) for row in self.rows])

    @property
    def ranked(self) -> list[Share]:
        """The layers by their work that sparsity leaves, the largest first."""
        left, dense = (sum(getattr(each, how) for each in self.training.layers) for how in ("sparse", "dense"))
        shares = [
            Share(
                layer=place,
                left=100 * training.sparse / left,
                dense=100 * training.dense / dense,
                by_pass={each.name: 100 * each.layers[place].sparse / left for each in self.passes},
            )
            for place, training in enumerate(self.training.layers)
        ]
        return sorted(shares, key=lambda each: -each.left)


def unique_names(layers: Sequence[tuple[str, str, str]]) -> list[str]:
    """A unique name for each layer, given as name, kind and weight.

    Layers of one module are told apart by weight or kind, or else by number.
    """
    modules = [name or kind for name, kind, _ in layers]
    shared = Counter(modules)
    specific = [
        module if shared[module] == 1
        else weight.removesuffix(".weight") if weight
        else f"{module} ({kind})"
        for module, (_, kind, weight) in zip(modules, layers, strict=True)
    ]  # fmt: skip
    shared, seen = Counter(specific), Counter[str]()
    unique = []
    for name in specific:
        seen[name] += 1
        unique.append(f"{name} {seen[name]}" if shared[name] > 1 else name)
    return unique


@dataclass(frozen=True)
class Share:
    """One layer, by its place in execution order: its share of the remaining training MACs, and of the dense ones [%].

    `by_pass` splits the share of the remaining MACs.
    """

    layer: int
    left: float
    dense: float
    by_pass: dict[str, float]


def layer_costs(estimate: Estimate) -> LayerCosts:
    """The layers as the tables have them: one that runs several times on the same shapes is one row."""
    rows = tuple(merged(layer_rows(estimate))[:-1])  # the last row holds parameters only

    def work(name: str, network: Cost) -> Work:
        return Work(name, network, tuple(Cost(row[f"{name}_dense_macs"], row[f"{name}_sparse_macs"]) for row in rows))

    passes = tuple(work(name, cost) for name, cost in estimate.costs.by_part().items() if cost.dense)
    return LayerCosts(rows, work("training", estimate.costs.training), passes)


def executed(estimate: Estimate) -> Work:
    """The layers' work in training under the exact convention, whichever one the estimate is counted by."""
    layers = tuple(replace(each, costs=each.exact) for each in estimate.layers)
    return layer_costs(replace(estimate, layers=layers, costs=estimate.exact)).training


@dataclass(frozen=True)
class Speedups:
    """The speedup of training by Top-K period [iterations] (Eqs. 7 and 8), and the periods to mark on the curve.

    `attainable` is the attainable one, empty for a simulated step. `limit` is the speedup without Top-K; `break_even`
    is None where no period on the curve breaks even.
    """

    by_period: dict[float, float]
    attainable: dict[float, float]
    asked: int
    break_even: int | None
    limit: float


def speedups(estimate: Estimate, periods: Iterable[float]) -> Speedups:
    """The curve through these periods, and through those to mark."""
    drawn, asked, even = {*periods}, estimate.topk_period, estimate.break_even_period
    marked = even if even is not None and even <= max(*drawn, asked) else None
    drawn |= {asked} if marked is None else {asked, marked}
    by_period = {period: estimate.speedup_every(period) for period in sorted(drawn)}
    attainable = {} if is_simulated(estimate) else {each: estimate.attainable_every(each) for each in by_period}
    return Speedups(by_period, attainable, asked, marked, estimate.speedup_limit)


def spaced(decades: int, steps: int) -> list[float]:
    """Numbers from 1 to 10^decades, `steps` to each power of ten, evenly on a logarithmic axis."""
    return [10 ** (step / steps) for step in range(decades * steps + 1)]
