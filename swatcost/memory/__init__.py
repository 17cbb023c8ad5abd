"""What a training step keeps and holds in memory, densely and sparsely."""

from swatcost.memory.kept_values import Memory, activation_reduction, saved_by_module, step_memory

__all__ = ["Memory", "activation_reduction", "saved_by_module", "step_memory"]
