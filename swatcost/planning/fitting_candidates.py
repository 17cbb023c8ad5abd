"""Which candidates give printed numbers to their digits, over which range of the default activation sparsity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy

from swatcost.counting import DEFAULT_ACT_SPARSITY
from swatcost.planning.assumptions import (
    DEFAULT_SPARSITY,
    MOST,
    TRUNCATED,
    Assumption,
    Assumptions,
    price_of,
)
from swatcost.planning.candidates import Candidates, Shares
from swatcost.planning.coincidence import Reach
from swatcost.planning.printed_number import Quantity, Rounding
from swatcost.planning.readings import Candidate, Stated, quantities_to_try

_HALVINGS = 60  # of the range of the default activation sparsity, when looking for the nearest


@dataclass(frozen=True, kw_only=True)
class Block:
    """Candidates that differ in unstated choices only, for one reading of the numbers and one way of rounding.

    With `solved` the default activation sparsity is solved for, otherwise it is as stated or assumed.
    """

    stated: Sequence[Stated]
    candidates: Candidates
    reading: Assumptions
    quantities: tuple[Quantity, ...]
    rounding: Rounding
    solved: bool

    @cached_property
    def assumptions(self) -> Assumptions:
        """What all of them assume."""
        found: set[Assumption] = {*self.candidates.assumptions, *self.reading}
        found |= {TRUNCATED} if self.rounding == "truncation" else set()
        return frozenset(found | ({DEFAULT_SPARSITY} if self.solved else set()))

    @cached_property
    def prices(self) -> Any:
        """What each one's assumptions cost; those that cost too much are left out at the end."""
        prices = [price_of(self.assumptions | each) for each in self.candidates.choices]
        return numpy.array([each for each in prices if each <= MOST], dtype=int)

    @cached_property
    def _shares(self) -> Shares:
        return self.candidates.shares[:, : len(self.prices)]

    @cached_property
    def _without(self) -> Shares:
        return self.candidates.without[:, : len(self.prices)]

    @cached_property
    def _slope(self) -> Shares:
        """By how much shares change with the default activation sparsity."""
        return (self._shares - self._without) / DEFAULT_ACT_SPARSITY

    @cached_property
    def _sparse(self) -> Any:
        """Which ones leave less of every number than there is when dense; others are no reading of it."""
        return (self._shares < 1).all(axis=0)

    @property
    def varies(self) -> bool:
        """Whether any share depends on the default activation sparsity."""
        return bool(self._slope.any())

    def _at(self, sparsities: Any) -> Shares:
        """The numbers, if the default activation sparsity of each candidate is this."""
        shares = self._without + self._slope * sparsities if self.solved else self._shares
        rows = zip(self.quantities, shares, strict=True)
        return numpy.array([quantity.value(row) for quantity, row in rows])

    def _digits(self, values: Shares) -> Any:
        rows = zip(self.stated, values, strict=True)
        return numpy.array([each.printed.digits_of(row, self.rounding) for each, row in rows])

    def reach(self) -> Reach:
        """The digits that each candidate gives."""
        one, other = (self._digits(self._at(end))[:, self._sparse] for end in (0.0, 1.0))
        return Reach(self.prices[self._sparse], numpy.minimum(one, other), numpy.maximum(one, other))

    def fitting(self) -> Iterator[Candidate]:
        """The candidates that give every number to its printed digits."""
        if self.solved:
            low, high = self._intervals()
            middle = (low + high) / 2
            values = self._at(middle)
            for place in numpy.flatnonzero((low < high) & self._sparse):
                yield self._candidate(place, values, (float(low[place]), float(high[place])))
            return
        values = self._at(None)
        printed = numpy.array([[each.printed.digits] for each in self.stated])
        for place in numpy.flatnonzero((self._digits(values) == printed).all(axis=0) & self._sparse):
            yield self._candidate(place, values)

    def _intervals(self) -> tuple[Any, Any]:
        """From which to which default activation sparsity each candidate gives all printed digits; empty if never."""
        low, high = numpy.zeros(len(self.prices)), numpy.ones(len(self.prices))
        digits = self._digits(self._at(0.0))
        for row, (each, quantity) in enumerate(zip(self.stated, self.quantities, strict=True)):
            slope = self._slope[row]
            turning = slope != 0
            ends = [quantity.share(value) for value in each.printed.values(self.rounding)]
            at = [(end - self._without[row]) / numpy.where(turning, slope, 1.0) for end in ends]
            low = numpy.maximum(low, numpy.where(turning, numpy.minimum(*at), 0.0))
            high = numpy.minimum(high, numpy.where(turning, numpy.maximum(*at), 1.0))
            high = numpy.where(turning | (digits[row] == each.printed.digits), high, -1.0)
        return low, high

    def nearest(self) -> Iterator[Candidate]:
        """The candidate of each price that comes nearest."""
        low, high = numpy.zeros(len(self.prices)), numpy.ones(len(self.prices))
        for _ in range(_HALVINGS if self.solved else 0):  # the largest gap has one minimum: each is a valley
            left, right = low + (high - low) / 3, high - (high - low) / 3
            falls = self._gaps(self._at(left)) > self._gaps(self._at(right))
            low, high = numpy.where(falls, left, low), numpy.where(falls, high, right)
        values = self._at((low + high) / 2)
        gaps = self._gaps(values)
        for price in numpy.unique(self.prices[self._sparse]):
            of_price = numpy.flatnonzero((self.prices == price) & self._sparse)
            place = of_price[gaps[of_price].argmin()]
            at = float((low + high)[place] / 2)
            yield self._candidate(place, values, (at, at) if self.solved else None, float(gaps[place]))

    def _gaps(self, values: Shares) -> Any:
        """By how many last printed digits the worst number of each candidate misses."""
        gaps = numpy.zeros(len(self.prices))
        for each, row in zip(self.stated, values, strict=True):
            least, below = each.printed.values(self.rounding)
            gaps = numpy.maximum(gaps, numpy.maximum(least - row, row - below) * each.printed.scale)
        return gaps

    def _candidate(
        self, place: Any, values: Shares, interval: tuple[float, float] | None = None, gap: float = 0.0
    ) -> Candidate:
        return Candidate(
            assumptions=self.assumptions | self.candidates.choices[place],
            quantities=self.quantities,
            values=tuple(map(float, values[:, place])),
            default_act_sparsity=interval,
            gap=gap,
        )


def blocks(stated: Sequence[Stated], candidates: Candidates, solving: bool) -> Iterator[Block]:
    """Every reading of the numbers by these candidates; `solving` for the default activation sparsity too."""
    for reading, quantities in quantities_to_try(stated):
        if tuple(each.base for each in quantities) != candidates.bases:
            continue
        roundings: tuple[Rounding, ...] = ("nearest", "truncation")
        for rounding in roundings:
            for solved in (False, True) if solving else (False,):
                block = Block(
                    stated=stated, candidates=candidates, reading=reading, quantities=quantities, rounding=rounding,
                    solved=solved,
                )  # fmt: skip
                if len(block.prices) and (not solved or block.varies):
                    yield block


def minimal(fitting: Sequence[Candidate]) -> list[Candidate]:
    """Those that assume least first, without any that assumes all that another does and more."""
    found: list[Candidate] = []
    for each in sorted(fitting, key=lambda each: (each.price, len(each.assumptions))):
        if not any(other.assumptions < each.assumptions for other in found):
            found.append(each)
    return found
