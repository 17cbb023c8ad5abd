"""Memory of a training step, dense and sparse."""

from swatcost.memory.kept_values import Memory, activation_reduction, saved_by_module, step_memory

__all__ = ["Memory", "activation_reduction", "saved_by_module", "step_memory"]
