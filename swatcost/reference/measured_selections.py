"""What Top-K and masking cost by algorithm and array size, and the lines fitted to it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle
from statistics import median
from typing import Literal

import torch
from torch import Tensor

from swatcost.devices import SelectionTime
from swatcost.devices import steps as growing
from swatcost.devices.fits import fitted
from swatcost.reference.sparsifier import now
from swatcost.reference.thresholds import SELECTIONS

SIZES = (1_000, 10_000, 100_000, 1_000_000)
"""Array sizes [elements]: those of Table 9."""

SELECTION_SIZES = (*SIZES, 8_000_000)
"""With one more, as large as a layer's activations."""

SPARSITY = 0.8  # that thresholds are computed for [-]
_MIN_SECONDS = 0.05  # that one measurement is repeated for
_REPEATS = (3, 50)  # minimum and maximum
_ELEMENTS = 4_000_000  # maximum over all arrays of one size
_OTHERS = 16_000_000  # numbers touched between two measurements, more than most caches hold

BySize = Mapping[int, float]
"""Times [s] by array size [elements]."""


def algorithms(on: str) -> list[str]:
    """The selections that can be timed there: introselect is numpy's and runs only on the CPU."""
    return [name for name in SELECTIONS.names() if name != "exact" and (on == "cpu" or name != "partition")]


def selection_seconds(algorithm: str, sizes: Sequence[int], on: str) -> BySize:
    """The time from a tensor to its threshold, magnitudes included."""
    find = SELECTIONS[algorithm].find
    return _by_size(lambda x: find(x.abs(), round(SPARSITY * x.numel())), sizes, on)


def masking_seconds(sizes: Sequence[int], on: str) -> BySize:
    """The time to zero the elements that do not exceed a threshold."""
    return _by_size(lambda x: torch.where(x.abs() > 1.0, x, 0), sizes, on)


def _timed(action: Callable[[], object], on: str, before_each: Callable[[], object] = lambda: None) -> float:
    """The median time [s] of an action, after a warm-up run."""
    action()
    times: list[float] = []
    while len(times) < _REPEATS[0] or (sum(times) < _MIN_SECONDS and len(times) < _REPEATS[1]):
        before_each()
        began = now(on)
        action()
        times.append(now(on) - began)
    return median(times)


def _by_size(action: Callable[[Tensor], object], sizes: Sequence[int], on: str) -> dict[int, float]:
    """The time [s] of an action on normal numbers, by array size [elements], under the conditions of a training step.

    Each run gets another array, as a branch predictor memorises a small one, and caches full of other data.
    """
    generator = torch.Generator().manual_seed(0)
    others = torch.zeros(_OTHERS, device=on)
    seconds = {}
    for size in sizes:
        count = max(2, min(_REPEATS[1], _ELEMENTS // size))
        arrays = cycle([torch.randn(size, generator=generator).to(on) for _ in range(count)])
        seconds[size] = _timed(_next(action, arrays), on, lambda: others.add_(1))
    return seconds


def _next(action: Callable[[Tensor], object], arrays: Iterator[Tensor]) -> Callable[[], object]:
    return lambda: action(next(arrays))


def line(algorithm: str, times: BySize) -> SelectionTime:
    """The straight line through an algorithm's times."""
    elements, seconds = list(times), list(times.values())
    growth: Literal["linear", "n log n"] = "n log n" if algorithm == "sort" else "linear"
    fit = fitted([(1.0, growing(each, growth)) for each in elements], seconds)
    exact = algorithm not in SELECTIONS.names() or SELECTIONS[algorithm].exact
    return SelectionTime(
        algorithm=algorithm,
        fixed=fit.coefficients[0],
        per_element=max(fit.coefficients[1], 1e-12),
        smallest=min(elements),
        largest=max(elements),
        worst_residual=fit.worst_residual,
        exact=exact,
        growth=growth,
    )
