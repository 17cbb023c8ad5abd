"""How work is counted: the paper's equations, conventions, costs that add up, and what fits 2:4."""

from swatcost.counting.conventions import CONVENTIONS, DEFAULT_ACT_SPARSITY, EXACT, Convention
from swatcost.counting.costs import Cost, PassCosts
from swatcost.counting.counting import Counting, summed

__all__ = ["CONVENTIONS", "DEFAULT_ACT_SPARSITY", "EXACT", "Convention", "Cost", "Counting", "PassCosts", "summed"]
