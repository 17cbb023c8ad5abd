"""Section 4.4: a cycle model of an accelerator that skips zero weights (Bit-Tactical's front end)."""

from typing import TYPE_CHECKING, Any

from swatcost.accelerator.architecture import Architecture, Shape, architecture_names, load_architecture, parse_shape

if TYPE_CHECKING:
    from swatcost.accelerator.masks import MaskSource, from_checkpoint
    from swatcost.accelerator.simulation import Cycles, LayerCycles, Simulation, Slots, simulate

__all__ = [
    "Architecture", "Cycles", "LayerCycles", "MaskSource", "Shape", "Simulation", "Slots", "architecture_names",
    "from_checkpoint", "load_architecture", "parse_shape", "simulate",
]  # fmt: skip

_MASKS = ("MaskSource", "from_checkpoint")


def __getattr__(name: str) -> Any:
    """What simulates is imported when it is asked for: an estimate needs an architecture's name only."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{'masks' if name in _MASKS else 'simulation'}"), name)
