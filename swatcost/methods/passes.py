"""The operands that a layer's passes read, and those of them that a method makes sparse."""

from collections.abc import Mapping

from swatcost.common.frozen_mapping import FrozenMapping
from swatcost.methods.layer_sparsity import Operand
from swatcost.network.passes import PASSES, Pass

OPERANDS: Mapping[str, Operand] = {"weights": "weight", "acts": "activation", "grads": "output"}
"""The operand of each target sparsity."""

READS: Mapping[Pass, frozenset[Operand]] = {
    "forward": frozenset({"weight", "activation", "output"}),
    "grad_input": frozenset({"weight", "output"}),
    "grad_weight": frozenset({"activation", "output"}),
}
"""The operands that can be sparse in each pass."""


def sparse_in(
    *, forward: tuple[Operand, ...] = (), grad_input: tuple[Operand, ...] = (), grad_weight: tuple[Operand, ...] = ()
) -> Mapping[Pass, frozenset[Operand]]:
    """The sparse operands of each pass."""
    operands = {"forward": forward, "grad_input": grad_input, "grad_weight": grad_weight}
    return FrozenMapping({each: frozenset(operands[each]) for each in PASSES})
