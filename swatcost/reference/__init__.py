"""SWAT itself, executed in PyTorch, to hold the model against (the paper's Algorithm 1)."""

from __future__ import annotations

from swatcost.reference.conversion import METHODS_THAT_RUN, Converted, convert
from swatcost.reference.counting import Counts
from swatcost.reference.thresholds import SELECTIONS, Selection

__all__ = ["METHODS_THAT_RUN", "SELECTIONS", "Converted", "Counts", "Selection", "convert"]
