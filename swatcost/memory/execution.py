"""How training steps are executed: optimizer, precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from swatcost.memory.optimizers import OPTIMIZERS, Optimizer
from swatcost.memory.precisions import PRECISIONS, Precision


class Executing(TypedDict, total=False):
    """The keywords of every function whose result depends on how steps are executed."""

    optimizer: str
    precision: str


EXECUTING = tuple(Executing.__annotations__)
"""The names of these keywords."""


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How training steps are executed. `Execution.of` makes it from names, and checks them."""

    optimizer: Optimizer
    precision: Precision

    @staticmethod
    def of(optimizer: str = "momentum", precision: str = "fp32") -> Execution:
        """The execution with these values.

        Raises SwatcostError for invalid ones.
        """
        return Execution(optimizer=OPTIMIZERS.choose(optimizer), precision=PRECISIONS.choose(precision))

    @property
    def title(self) -> str:
        """The execution in words, for reports."""
        return f"{self.optimizer.name}, {self.precision.name} ({self.precision.title})"
