"""Parameters as an optimizer sees them, and bytes that optimizers have in common."""

from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import NamedTuple

from swatcost.memory.precisions import FULL


class Trained(NamedTuple):
    """A parameter as its optimizer sees it: the master copy if there is one."""

    shape: tuple[int, ...]
    element_bytes: int

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.elements * self.element_bytes


Bytes = Callable[[Sequence[Trained]], int]
"""The bytes of something for these parameters, in the optimizer's order."""


def none(trained: Sequence[Trained]) -> int:
    """Nothing."""
    return 0


def total(trained: Iterable[Trained]) -> int:
    """As many bytes as the parameters."""
    return sum(each.bytes for each in trained)


def twice(trained: Sequence[Trained]) -> int:
    """Twice as many."""
    return 2 * total(trained)


def counters(trained: Sequence[Trained]) -> int:
    """A step counter in fp32 for each."""
    return FULL * len(trained)


class Line(NamedTuple):
    """A statement that computes `result` bytes for a variable, which frees what that held before.

    While it runs, there are `temporaries` besides.
    """

    variable: str
    result: int
    temporaries: int = 0


def peak_of(lines: Iterable[Line]) -> int:
    """The most bytes that the variables and temporaries of these statements take together."""
    held: dict[str, int] = {}
    most = 0
    for line in lines:
        most = max(most, sum(held.values()) + line.result + line.temporaries)
        held[line.variable] = line.result
    return most
