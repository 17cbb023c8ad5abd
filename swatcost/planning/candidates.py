"""The shares of dense work that an audit's candidates leave, by array arithmetic over all sets of unstated choices."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy

from swatcost.counting import Convention, Counting, PassCosts, summed
from swatcost.counting.deviations import DEVIATIONS
from swatcost.memory import activation_reduction
from swatcost.methods import LayerSparsity
from swatcost.network import Layer, Network
from swatcost.planning.assumptions import (
    MOST,
    Assumptions,
    Counted,
    Planned,
    conventions_to_try,
    deviating,
    plans_to_try,
    price_of,
)
from swatcost.planning.printed_number import Base
from swatcost.setting import Setting

Bases = tuple[Base, ...]
"""A base for each printed number."""

Shares = numpy.ndarray[Any, numpy.dtype[numpy.float64]]


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """What one way of counting leaves of dense work with each set of choices in `choices`, as shares [-].

    `shares` has a row per printed number and a column per set of choices. `without` is the same without any default
    activation sparsity: in between, shares are linear in it. `bases` say of what they are shares, a base per row.
    """

    assumptions: Assumptions
    choices: tuple[Assumptions, ...]
    bases: Bases
    shares: Shares
    without: Shares

    @property
    def without_switch_values(self) -> frozenset[tuple[str, str]]:
        """What is assumed, but for the values of the switches that are turned."""
        return frozenset((each.name, each.value if each.kind != "switch" else "") for each in self.assumptions)

    def differs(self, other: Candidates) -> bool:
        """Whether any share that both have is another."""
        columns = min(self.shares.shape[1], other.shares.shape[1])
        return any(
            not numpy.array_equal(getattr(self, name)[:, :columns], getattr(other, name)[:, :columns])
            for name in ("shares", "without")
        )


@dataclass(frozen=True, kw_only=True)
class Space:
    """Everything that an audit tries for these settings, one per printed number."""

    network: Network
    settings: Sequence[Setting]
    convention: Convention | None

    @cached_property
    def planned(self) -> list[Planned]:
        """The sets of unstated choices, the cheapest first."""
        return sorted(plans_to_try(self.network, self.settings), key=lambda each: price_of(each.assumptions))

    def candidates(self, bases: Sequence[Bases]) -> Iterator[Candidates]:
        """All candidates for these bases, but for those in which a switch or a deviation changes nothing.

        Two values of one switch that give the same are one.
        """
        found: dict[tuple[Assumptions, Bases], Candidates] = {}
        changing: set[Assumptions] = set()
        given: set[tuple[Any, ...]] = set()
        for counted in conventions_to_try(self.convention, self.network):
            switches = [each for each in counted.assumptions if each.kind == "switch"]
            if len(switches) > 1 and any(counted.assumptions - {each} not in changing for each in switches):
                continue
            for each in self._under(counted, bases):
                found[each.assumptions, each.bases] = each
                fewer = (found.get((each.assumptions - {one}, each.bases)) for one in each.assumptions)
                result = (each.without_switch_values, each.bases, each.shares.tobytes(), each.without.tobytes())
                if result not in given and all(one is None or each.differs(one) for one in fewer):
                    given.add(result)
                    changing.add(each.assumptions)
                    yield each

    def _under(self, counted: Counted, bases: Sequence[Bases]) -> Iterator[Candidates]:
        """The candidates of one way of counting: as it is, and with each deviation."""
        convention = counted.convention
        costs = self._costs(convention, self._within(counted.assumptions))
        for deviation in (None, *DEVIATIONS):
            assumptions = counted.assumptions | ({deviating(deviation)} if deviation else set())
            within = self._within(assumptions)
            applies = [deviation and deviation.applies(convention, each.method, self.network) for each in self.settings]
            if not within or (deviation and not any(applies)):
                continue
            changed = [
                deviation.counted(each, setting.method, self.network) if deviation and counts else each
                for each, setting, counts in zip(costs, self.settings, applies, strict=True)
            ]
            for each in bases:
                rows = [self._shares(base, convention, *of) for base, of in zip(each, enumerate(changed), strict=True)]
                yield Candidates(
                    assumptions=assumptions,
                    choices=tuple(planned.assumptions for planned in self.planned[:within]),
                    bases=each,
                    shares=numpy.array([row[:within] for row, _ in rows]),
                    without=numpy.array([row[:within] for _, row in rows]),
                )

    def _within(self, assumptions: Assumptions) -> int:
        """How many of the first sets of choices cost no more than MOST together with these assumptions."""
        return bisect_right(self._prices, MOST - price_of(assumptions))

    @cached_property
    def _prices(self) -> list[int]:
        return [price_of(each.assumptions) for each in self.planned]

    def _shares(self, base: Base, convention: Convention, place: int, costs: PassCosts) -> tuple[Shares, Shares]:
        """What is left [-] of one number's base, with and without default activation sparsity."""
        if base in ("training", "inference"):
            left = 1 - numpy.asarray(getattr(costs, base).reduction, dtype=float)
            if not left.ndim:  # nothing is sparse, whatever the choices
                left = numpy.full(2 * len(self.planned), left)
            with_it, without = left.reshape(2, -1)
            return with_it, without
        kept = self._kept(base, convention, place)
        return kept, kept

    def _costs(self, convention: Convention, taken: int) -> list[PassCosts]:
        """Each setting's costs with the first sets of choices, then the same without default activation sparsity."""
        found = []
        for place, counting in enumerate(self._countings if taken else ()):
            setting, plan = self.settings[place], self.planned[0].plans[place]
            charged: Any = numpy.repeat([counting.default_act_sparsity, 0.0], taken)
            count = partial(
                convention.count,
                method=setting.method,
                phases=convention.phases(plan, counting.steps),
                default_act_sparsity=charged,
            )
            if convention.per == "token" or convention.formulas:  # which tell layers of one shape apart
                costs = [count(layer, sparsity=sparsity) for layer, sparsity in self._in_order(place, taken)]
                under = counting.under(convention)
                within = under.of_network(self.network, costs)
                found.append(summed(within, self.network, setting.batch_size) + under.beside(self.network))
            else:
                layers = self._merged(place, taken)
                found.append(sum((times * count(layer, sparsity=each) for layer, each, times in layers), PassCosts()))
        return found

    @cached_property
    def _countings(self) -> list[Counting]:
        return [each.counting(self.network) for each in self.settings]

    def _in_order(self, place: int, taken: int) -> list[tuple[Layer, LayerSparsity]]:
        """Every counted layer of a setting with the first sets of choices, twice, as arrays."""
        plans = [each.plans[place].by_layer(self.network) for each in self.planned[:taken]] * 2
        return [(alike[0][0], _side_by_side([sparsity for _, sparsity in alike])) for alike in zip(*plans, strict=True)]

    def _merged(self, place: int, taken: int) -> list[tuple[Layer, LayerSparsity, float]]:
        """The same, but layers that differ in name only are one, with how often it counts.

        A sample's share of the work of a traced batch counts.
        """
        if (place, taken) not in self._known_layers:
            merged: dict[Any, tuple[Layer, LayerSparsity, float]] = {}
            for layer, sparsity in self._in_order(place, taken):
                key = (_without_names(layer), *(each.tobytes() for each in _operands(sparsity)))
                times = merged[key][2] if key in merged else 0.0
                share = 1 / self.network.samples_of(layer, self.settings[place].batch_size)
                merged[key] = (layer, sparsity, times + share)
            self._known_layers[place, taken] = list(merged.values())
        return self._known_layers[place, taken]

    @cached_property
    def _known_layers(self) -> dict[tuple[int, int], list[tuple[Layer, LayerSparsity, float]]]:
        return {}

    def _kept(self, base: Base, convention: Convention, place: int) -> Shares:
        """What each set of choices leaves of weights or activations [-]."""
        key = (base, convention.first_input if base == "activations" else "", place)
        if key not in self._known:
            batch_size = self.settings[place].batch_size
            self._known[key] = numpy.array(
                [
                    1 - activation_reduction(self.network, plan, convention, batch_size)
                    if base == "activations"
                    else 1 / plan.model_compression(self.network)
                    for plan in (each.plans[place] for each in self.planned)
                ]
            )
        return self._known[key]

    @cached_property
    def _known(self) -> dict[tuple[Base, str, int], Shares]:
        return {}


def _without_names(layer: Layer) -> Layer:
    """The layer as conventions see it: they ask of its input only whether it is the network's."""
    return replace(layer, name="", weight="", parameters=(), input_storage=min(layer.input_storage, 1))


def _side_by_side(layers: Sequence[LayerSparsity]) -> LayerSparsity:
    operands = zip(*map(_operands, layers), strict=True)
    return LayerSparsity(*map(numpy.array, operands))  # type: ignore[arg-type]


def _operands(sparsity: LayerSparsity) -> tuple[Any, Any, Any]:
    return sparsity.weight, sparsity.activation, sparsity.output
