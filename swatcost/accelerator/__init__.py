"""Section 4.4: a cycle model of an accelerator that skips zero weights (Bit-Tactical's front end)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from swatcost.accelerator.architecture import Architecture, Shape, architecture_names, load_architecture, parse_shape

if TYPE_CHECKING:
    from swatcost.accelerator.cycles import Cycles, LayerCycles, Slots
    from swatcost.accelerator.layer_cycles import layer_cycles
    from swatcost.accelerator.masks import MaskSource, from_checkpoint

__all__ = [
    "Architecture", "Cycles", "LayerCycles", "MaskSource", "Shape", "Simulation", "Slots", "architecture_names",
    "from_checkpoint", "layer_cycles", "load_architecture", "parse_shape", "simulate",
]  # fmt: skip

_HOMES = {
    **dict.fromkeys(("Cycles", "LayerCycles", "Slots"), "swatcost.accelerator.cycles"),
    **dict.fromkeys(("MaskSource", "from_checkpoint"), "swatcost.accelerator.masks"),
    "layer_cycles": "swatcost.accelerator.layer_cycles",
    # these stand above this room, as they take an estimate; they are found by name because callers import them here
    **dict.fromkeys(("Simulation", "simulate"), "swatcost.simulation.simulation"),
}


def __getattr__(name: str) -> Any:
    """The cycle model is imported when it is asked for: an estimate needs an architecture's name only."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
