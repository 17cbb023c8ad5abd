"""What a training step keeps and holds in memory, densely and sparsely."""

from swatcost.memory.kept_values import Memory, activation_reduction, step_memory

__all__ = ["Memory", "activation_reduction", "step_memory"]
