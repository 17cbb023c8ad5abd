"""How work is counted: the paper's equations, conventions, costs that add up, and what fits 2:4."""

from swatcost.counting.convention import DEFAULT_ACT_SPARSITY, Convention
from swatcost.counting.conventions import CONVENTIONS, EXACT, conventions_of
from swatcost.counting.costs import Cost, PassCosts
from swatcost.counting.counting import Counting, summed

__all__ = [
    "CONVENTIONS",
    "DEFAULT_ACT_SPARSITY",
    "EXACT",
    "Convention",
    "Cost",
    "Counting",
    "PassCosts",
    "conventions_of",
    "summed",
]
