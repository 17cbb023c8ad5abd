"""How often random numbers would be fitted as well: so that a coincidence is not taken for an explanation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from swatcost.planning.readings import Coincidence

Digits = numpy.ndarray[Any, numpy.dtype[numpy.int64]]


@dataclass(frozen=True)
class Reach:
    """The printed digits that candidates give, a row per number and a column per candidate, and what each one costs.

    A candidate with a free parameter gives all from `low` to `high`; they are equal for any other.
    """

    prices: Digits
    low: Digits
    high: Digits


def coincidence(reaches: Sequence[Reach], price: int) -> Coincidence:
    """The coincidence of the candidates up to this price, of which there must be one."""
    low, high = (
        numpy.concatenate([getattr(each, end)[:, each.prices <= price] for each in reaches], axis=1)
        for end in ("low", "high")
    )
    lowest, highest = low.min(axis=1), high.max(axis=1)
    free = (low != high).any(axis=0)
    if len(low) == 1:
        distinct = _length_of_union(low[0], high[0])
    else:
        fixed = numpy.unique(low[:, ~free], axis=1).shape[1]
        distinct = fixed + _on_lines(low[:, free], high[:, free])
    box = 1.0
    for size in highest - lowest + 1:
        box *= int(size)
    return Coincidence(
        price=price,
        tried=low.shape[1],
        distinct=distinct,
        lowest=tuple(map(int, lowest)),
        highest=tuple(map(int, highest)),
        probability=min(1.0, distinct / box),
        at_most=len(low) > 1 and bool(free.any()),
    )


def _length_of_union(low: Digits, high: Digits) -> int:
    """How many whole numbers lie in any of these closed intervals."""
    order = numpy.argsort(low)
    low, high = low[order], numpy.maximum.accumulate(high[order])
    before = numpy.concatenate([low[:1] - 1, high[:-1]])  # the largest number covered so far
    return int(numpy.maximum(0, high - numpy.maximum(before, low - 1)).sum())


def _on_lines(low: Digits, high: Digits) -> int:
    """At most so many results lie on the lines: one more each time that one of the numbers changes by a digit."""
    return int(((high - low).sum(axis=0) + 1).sum())
