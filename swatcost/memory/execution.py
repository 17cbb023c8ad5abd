"""How training steps are executed: optimizer, precision, and how sparse weights are stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

from swatcost.memory.optimizers import OPTIMIZERS, Optimizer
from swatcost.memory.precisions import PRECISIONS, Precision
from swatcost.memory.weight_storage import storage_changes


class Executing(TypedDict, total=False):
    """The keywords of every function whose result depends on how steps are executed."""

    optimizer: str
    precision: str
    weight_storage: str | None


EXECUTING = tuple(Executing.__annotations__)
"""The names of these keywords."""


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How training steps are executed. `Execution.of` makes it from names, and checks them.

    `weight_storage` are the fields, and their values, in which compressed weights differ from the least that the
    method allows.
    """

    optimizer: Optimizer
    precision: Precision
    weight_storage: tuple[tuple[str, Any], ...] = ()

    @staticmethod
    def of(optimizer: str = "momentum", precision: str = "fp32", weight_storage: str | None = None) -> Execution:
        """The execution with these values; weight_storage as in "transposes=1,mask_bits=8".

        Raises SwatcostError for invalid ones.
        """
        return Execution(
            optimizer=OPTIMIZERS.choose(optimizer),
            precision=PRECISIONS.choose(precision),
            weight_storage=() if weight_storage is None else tuple(storage_changes(weight_storage).items()),
        )

    @property
    def title(self) -> str:
        """The execution in words, for reports."""
        stored = "".join(f", {name}={value}" for name, value in self.weight_storage)
        return f"{self.optimizer.name}, {self.precision.name} ({self.precision.title}){stored}"
