"""Section 4.4: a cycle model of an accelerator that skips zero weights (Bit-Tactical's front end)."""

from typing import TYPE_CHECKING

from swatcost.accelerator.architecture import Architecture, Shape, architecture_names, load_architecture, parse_shape
from swatcost.common.lazy import attributes_from

if TYPE_CHECKING:
    from swatcost.accelerator.cycles import Cycles, LayerCycles, Slots
    from swatcost.accelerator.masks import MaskSource, from_checkpoint

__all__ = [
    "Architecture", "Cycles", "LayerCycles", "MaskSource", "Shape", "Simulation", "Slots", "architecture_names",
    "from_checkpoint", "load_architecture", "parse_shape", "simulate",
]  # fmt: skip

__getattr__ = attributes_from(
    __name__,
    {
        "swatcost.accelerator.cycles": ("Cycles", "LayerCycles", "Slots"),
        "swatcost.accelerator.masks": ("MaskSource", "from_checkpoint"),
        # these take an estimate and live above this room; looked up by name because callers import them from here
        "swatcost.simulation.simulation": ("Simulation", "simulate"),
    },
)
