"""How work is counted: the paper's equations, conventions, costs that add."""

from swatcost.counting.counting import counted_costs, counted_layers, summed

__all__ = ["counted_costs", "counted_layers", "summed"]
