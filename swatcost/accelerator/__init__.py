"""Section 4.4: a cycle model of an accelerator that skips zero weights (Bit-Tactical's front end)."""

from swatcost.accelerator.architecture import Architecture, Shape, architecture_names, load_architecture, parse_shape
from swatcost.accelerator.masks import MaskSource, from_checkpoint
from swatcost.accelerator.simulation import Cycles, LayerCycles, Simulation, Slots, simulate

__all__ = [
    "Architecture", "Cycles", "LayerCycles", "MaskSource", "Shape", "Simulation", "Slots", "architecture_names",
    "from_checkpoint", "load_architecture", "parse_shape", "simulate",
]  # fmt: skip
