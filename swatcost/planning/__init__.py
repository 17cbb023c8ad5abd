"""Before a run: settings side by side, the one that reaches a goal, what a step holds, and whole runs."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from swatcost.planning.comparing import Comparison, NetworkComparison, compare, compare_networks
    from swatcost.planning.holding import MemoryReport, memory_of
    from swatcost.planning.running import RunPlan, plan_run
    from swatcost.planning.saved import Difference, difference
    from swatcost.planning.solving import Solution, solution, solve
    from swatcost.planning.sweeping import sweep

_HOMES = {
    "Comparison": "comparing", "NetworkComparison": "comparing",
    "compare": "comparing", "compare_networks": "comparing",
    "MemoryReport": "holding", "memory_of": "holding",
    "RunPlan": "running", "plan_run": "running",
    "Difference": "saved", "difference": "saved",
    "Solution": "solving", "solution": "solving", "solve": "solving",
    "sweep": "sweeping",
}  # fmt: skip

__all__ = [
    "Comparison", "Difference", "MemoryReport", "NetworkComparison", "RunPlan", "Solution", "compare",
    "compare_networks", "difference", "memory_of", "plan_run", "solution", "solve", "sweep",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Each is imported when it is asked for: an estimate needs none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
