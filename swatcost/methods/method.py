"""A method as data: its sparse operands, gradients, layers kept dense, and sparsity schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, get_args

from swatcost.common.errors import SwatcostError
from swatcost.common.frozen_mapping import FrozenMapping
from swatcost.network.layer import Layer
from swatcost.network.passes import PASSES, Pass

Operand = Literal["weight", "activation", "output"]
"""`output` is an output activation that need not be computed in the forward pass; its gradient in the other passes."""

OPERANDS: Mapping[str, Operand] = {"weights": "weight", "acts": "activation", "grads": "output"}
"""The operand of each target sparsity."""

_READS: Mapping[Pass, frozenset[Operand]] = {
    "forward": frozenset({"weight", "activation", "output"}),
    "grad_input": frozenset({"weight", "output"}),
    "grad_weight": frozenset({"activation", "output"}),
}


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

    def scaled(self, scale: float) -> LayerSparsity:
        """The sparsity in a phase that has reached this fraction of the target."""
        if scale == 1:
            return self
        return LayerSparsity(self.weight * scale, self.activation * scale, self.output * scale)


@dataclass(frozen=True)
class Phase:
    """A share of a run's steps with constant sparsity.

    `scale` is the fraction of the target sparsity that is reached [-]; `dense_weight_gradient` says that the gradient
    is computed for every weight, although the method otherwise needs it for the active ones only.
    """

    share: float
    scale: float = 1.0
    dense_weight_gradient: bool = False


Schedule = Callable[[int], tuple[Phase, ...]]
"""Number of training steps of a run → its phases, whose shares add up to 1."""


def constant(steps: int) -> tuple[Phase, ...]:
    """The target sparsity from the first step to the last."""
    return (Phase(1.0),)


@dataclass(frozen=True, kw_only=True)
class Method:
    """A sparse training algorithm.

    `sparse` names the operands that are sparse in each pass; they must be operands that the pass reads: grad_input
    does not read activations, grad_weight does not read weights (Eqs. 2 and 3). `weight_gradient` says for which
    weights the algorithm needs a gradient, and `updates` which it updates, if not the same. `across_layers`,
    `unstructured` and `structured` are columns of the paper's Table 1. `keeps_dense` are patterns of layers that SWAT's
    runs of it keep dense, and `sparse_elsewhere` is a sentence on who does not. `schedule` gives the sparsity over a
    run; `published_schedule` is the closed form that its authors count with, if it differs. `selects` are the operands
    that it selects by Top-K every period. `extra_macs` is work that the method adds to a layer's forward pass.
    `departures` says where this data departs from the source.
    """

    name: str
    title: str
    citation: str
    sparse: Mapping[Pass, frozenset[Operand]]
    weight_gradient: Literal["all", "active"] = "all"
    updates: Literal["all", "active"] | None = None
    across_layers: Literal["fixed", "variable", "fixed or variable"] = "fixed"
    unstructured: bool = True
    structured: bool = False
    keeps_dense: tuple[str, ...] = ()
    sparse_elsewhere: str = ""
    schedule: Schedule = constant
    published_schedule: Schedule | None = None
    selects: frozenset[Operand] = frozenset()
    extra_macs: Callable[[Layer], float] | None = None
    departures: str = ""

    def __post_init__(self) -> None:
        for each in PASSES:
            if unread := self.sparse[each] - _READS[each]:
                raise ValueError(f"{self.name}: {each} does not read {', '.join(sorted(unread))}")
        if not math.isclose(sum(phase.share for phase in self.schedule(1000)), 1):
            raise ValueError(f"{self.name}: the shares of its schedule's phases do not add up to 1")
        if self.weight_gradient == "active" and self.updates == "all":
            raise ValueError(f"{self.name}: it updates weights for which it has no gradient")

    @property
    def updated_weights(self) -> Literal["all", "active"]:
        """The weights that it updates; the others are zero until it activates them."""
        return self.updates or self.weight_gradient

    def uses(self, operand: Operand) -> bool:
        """Whether the operand is sparse in any pass."""
        return any(operand in operands for operands in self.sparse.values())

    @property
    def relies_on_default_sparsity(self) -> bool:
        """Whether its weight gradient is sparse only by default activation sparsity, the zeros of ReLU (A.3)."""
        return "weight" in self.sparse["forward"] and not self.sparse["grad_weight"]

    def density(self, in_pass: Pass, sparsity: LayerSparsity, phase: Phase) -> float:
        """The fraction of the dense pass's multiplications that the algorithm needs.

        Zeros of different operands are assumed independent.
        """
        now = sparsity.scaled(phase.scale)
        density = math.prod(1 - now.of(operand) for operand in sorted(self.sparse[in_pass]))
        if in_pass == "grad_weight" and self.weight_gradient == "active" and not phase.dense_weight_gradient:
            density *= 1 - now.weight
        return density


def sparse_in(
    *, forward: tuple[Operand, ...] = (), grad_input: tuple[Operand, ...] = (), grad_weight: tuple[Operand, ...] = ()
) -> Mapping[Pass, frozenset[Operand]]:
    """The sparse operands of each pass."""
    operands = {"forward": forward, "grad_input": grad_input, "grad_weight": grad_weight}
    return FrozenMapping({each: frozenset(operands[each]) for each in PASSES})
