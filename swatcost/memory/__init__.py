"""Memory of a training step, dense and sparse."""

from swatcost.memory.kept_values import Memory, activation_reduction, step_memory

__all__ = ["Memory", "activation_reduction", "step_memory"]
