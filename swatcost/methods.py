"""Sparse training methods as data: which operand is sparse in which pass (after the paper's Table 1 and A.8)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from types import MappingProxyType
from typing import Literal, get_args

from swatcost.costs import PASSES, Pass
from swatcost.errors import SwatcostError
from swatcost.registry import Registry

Operand = Literal["weight", "activation", "output_gradient"]

# The two operands of each pass: Eqs. 1, 2 and 3.
_READS: Mapping[Pass, frozenset[Operand]] = {
    "forward": frozenset({"weight", "activation"}),
    "grad_input": frozenset({"weight", "output_gradient"}),
    "grad_weight": frozenset({"activation", "output_gradient"}),
}


def checked_sparsity(value: float, what: str) -> float:
    """The value as a float, or SwatcostError unless it is a fraction of zeros in [0, 1)."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not 0 <= value < 1:
        remedy = "give the fraction of zeros, at least 0 and below 1, such as 0.8"
        if is_number and 1 < value < 100:
            remedy = f"it is the fraction of zeros: for {value:g} % write {value / 100:g}"
        raise SwatcostError(f"{what} {value!r} is not a sparsity: {remedy}")
    return float(value)


@dataclass(frozen=True)
class LayerSparsity:
    """The fraction of zeros, in [0, 1), in each operand that a layer's passes read."""

    weight: float = 0.0
    activation: float = 0.0
    output_gradient: float = 0.0

    def __post_init__(self) -> None:
        for operand in get_args(Operand):
            checked_sparsity(self.of(operand), f"{operand} sparsity")

    def of(self, operand: Operand) -> float:
        sparsity: float = getattr(self, operand)
        return sparsity


@dataclass(frozen=True, kw_only=True)
class Method:
    """What an algorithm makes sparse.

    `sparse` names the operands that are sparse in each pass. A pass reads two operands, and only those can
    be named: grad_input never reads activations, grad_weight never reads weights (Eqs. 2 and 3).
    """

    name: str
    title: str
    citation: str
    sparse: Mapping[Pass, frozenset[Operand]]

    def __post_init__(self) -> None:
        for each in PASSES:
            if strangers := self.sparse[each] - _READS[each]:
                raise ValueError(f"{self.name}: {each} does not read {', '.join(sorted(strangers))}")

    def uses(self, operand: Operand) -> bool:
        """Whether the operand is sparse in any pass."""
        return any(operand in operands for operands in self.sparse.values())

    def density(self, in_pass: Pass, sparsity: LayerSparsity) -> float:
        """The fraction of the dense pass's multiplications whose sparse operands are both present.

        Zeros of two operands are taken as independent of each other.
        """
        return math.prod(1 - sparsity.of(operand) for operand in sorted(self.sparse[in_pass]))


def _sparse(
    *, forward: tuple[Operand, ...] = (), grad_input: tuple[Operand, ...] = (), grad_weight: tuple[Operand, ...] = ()
) -> Mapping[Pass, frozenset[Operand]]:
    return MappingProxyType(
        {
            "forward": frozenset(forward),
            "grad_input": frozenset(grad_input),
            "grad_weight": frozenset(grad_weight),
        }
    )


METHODS = Registry[Method](
    "method",
    Method(
        name="dense",
        title="Dense training",
        citation="the baseline of every table",
        sparse=_sparse(),
    ),
    Method(
        name="saw",
        title="SAW: SWAT in the backward pass only",
        citation="Raihan and Aamodt, NeurIPS 2020, A.8",
        sparse=_sparse(grad_input=("weight",), grad_weight=("activation",)),
    ),
    Method(
        name="swat",
        title="Sparse Weight Activation Training",
        citation="Raihan and Aamodt, NeurIPS 2020, Section 3.3 and Algorithm 1",
        sparse=_sparse(forward=("weight",), grad_input=("weight",), grad_weight=("activation",)),
    ),
)
