"""Section 4.4: a cycle model of an accelerator that skips zero weights (Bit-Tactical's front end)."""

from typing import TYPE_CHECKING

from swatcost.accelerator.architecture import Architecture, Shape, architecture_names, load_architecture, parse_shape
from swatcost.common.lazy import attributes_from

if TYPE_CHECKING:
    from swatcost.accelerator.cycles import Cycles, LayerCycles, Slots
    from swatcost.accelerator.layer_cycles import layer_cycles
    from swatcost.accelerator.masks import MaskSource, from_checkpoint

__all__ = [
    "Architecture", "Cycles", "LayerCycles", "MaskSource", "Shape", "Simulation", "Slots", "architecture_names",
    "from_checkpoint", "layer_cycles", "load_architecture", "parse_shape", "simulate",
]  # fmt: skip

# The cycle model is imported when it is asked for: an estimate needs an architecture's name only.
__getattr__ = attributes_from(
    __name__,
    {
        "swatcost.accelerator.cycles": ("Cycles", "LayerCycles", "Slots"),
        "swatcost.accelerator.masks": ("MaskSource", "from_checkpoint"),
        "swatcost.accelerator.layer_cycles": ("layer_cycles",),
        # this room stands above, as it takes an estimate; its names are found here because callers import them here
        "swatcost.simulation.simulation": ("Simulation", "simulate"),
    },
)
