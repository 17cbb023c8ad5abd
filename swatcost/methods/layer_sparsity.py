"""The fraction of zeros in each operand of a layer."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, get_args

from swatcost.common.elementwise import where
from swatcost.common.errors import SwatcostError
from swatcost.methods.phase import Phase

Operand = Literal["weight", "activation", "output"]
"""`output` is an output activation that need not be computed in the forward pass; its gradient in the other passes."""


def checked_sparsity(value: float, what: str) -> float:
    """The value as a float. Raises SwatcostError unless it is a fraction of zeros in [0, 1)."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not 0 <= value < 1:
        remedy = "give the fraction of zeros, at least 0 and below 1, such as 0.8"
        if is_number and 1 < value < 100:
            remedy = f"it is the fraction of zeros: for {value:g} % write {value / 100:g}"
        raise SwatcostError(f"{what} {value!r:.40} is not a sparsity: {remedy}")
    return float(value)


@dataclass(frozen=True)
class LayerSparsity:
    """The fraction of zeros, in [0, 1), in each operand that a layer's passes read.

    Each may be an array, with one element per setting, to estimate many settings at once.
    """

    weight: float = 0.0
    activation: float = 0.0
    output: float = 0.0

    def __post_init__(self) -> None:
        for operand in get_args(Operand):
            value: Any = self.of(operand)
            if hasattr(value, "max"):  # an array is in range if its minimum and maximum are
                for end in (value.min(), value.max()) if value.size else ():
                    checked_sparsity(float(end), f"{operand} sparsity")
            else:
                checked_sparsity(value, f"{operand} sparsity")

    @property
    def is_sparse(self) -> bool:
        """Whether any operand has zeros; an array if the sparsities are arrays."""
        return (self.weight != 0) | (self.activation != 0) | (self.output != 0)

    def of(self, operand: Operand) -> float:
        sparsity: float = getattr(self, operand)
        return sparsity

    def during(self, phase: Phase) -> LayerSparsity:
        """The sparsity in a phase of a run, of which this is the target."""
        if phase.is_at_target:
            return self
        weight = where(self.weight > 0, 1 - (1 - self.weight) * phase.density_scale, 0.0)
        return LayerSparsity(weight * phase.scale, self.activation * phase.scale, self.output * phase.scale)
