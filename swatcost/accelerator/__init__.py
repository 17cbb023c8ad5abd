"""Section 4.4: a cycle model of an accelerator that skips zero weights (Bit-Tactical's front end)."""

from typing import TYPE_CHECKING, Any

from swatcost.accelerator.architecture import Architecture, Shape, architecture_names, load_architecture, parse_shape

if TYPE_CHECKING:
    from swatcost.accelerator.cycles import Cycles, LayerCycles, Simulation, Slots
    from swatcost.accelerator.masks import MaskSource, from_checkpoint
    from swatcost.simulation.simulation import simulate

__all__ = [
    "Architecture", "Cycles", "LayerCycles", "MaskSource", "Shape", "Simulation", "Slots", "architecture_names",
    "from_checkpoint", "load_architecture", "parse_shape", "simulate",
]  # fmt: skip

_HOMES = {
    "Cycles": "cycles", "LayerCycles": "cycles", "Simulation": "cycles", "Slots": "cycles",
    "MaskSource": "masks", "from_checkpoint": "masks",
    "simulate": "simulation",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """What simulates is imported when it is asked for: an estimate needs an architecture's name only."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
