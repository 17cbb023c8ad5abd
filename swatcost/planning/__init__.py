"""Before a run: settings side by side, what a step holds, and what fits."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from swatcost.planning.comparing import Comparison, compare
    from swatcost.planning.holding import MemoryReport, memory_of
    from swatcost.planning.sweeping import sweep

_HOMES = {
    "Comparison": "comparing", "compare": "comparing",
    "MemoryReport": "holding", "memory_of": "holding",
    "sweep": "sweeping",
}  # fmt: skip

__all__ = ["Comparison", "MemoryReport", "compare", "memory_of", "sweep"]


def __getattr__(name: str) -> Any:
    """Each is imported when it is asked for: an estimate needs none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
