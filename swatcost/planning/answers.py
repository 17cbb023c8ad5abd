"""A quantity that follows from time, by the three accounts of how long sparse training takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Answers:
    """Times, or what follows from them: `dense`, as run today; `attainable`, with the fastest kernels that the device
    is known to have; `ideal`, if time falls as FLOPs do, which no known machine gives.

    On a simulated accelerator, `attainable` and `ideal` are both the simulated one.
    """

    dense: float = 0
    attainable: float = 0
    ideal: float = 0

    def __add__(self, other: Answers) -> Answers:
        return Answers(self.dense + other.dense, self.attainable + other.attainable, self.ideal + other.ideal)

    def __rmul__(self, times: float) -> Answers:
        return Answers(times * self.dense, times * self.attainable, times * self.ideal)

    @property
    def sparse(self) -> float:
        """The ideal one, by the name that it had when there was no other."""
        return self.ideal

    @property
    def attainable_speedup(self) -> float:
        """Dense over attainable [-]."""
        return self.dense / self.attainable

    @property
    def ideal_speedup(self) -> float:
        """Dense over ideal [-]."""
        return self.dense / self.ideal

    def each(self, of: Callable[[float], float]) -> Answers:
        """A function of each of the three."""
        return Answers(of(self.dense), of(self.attainable), of(self.ideal))
