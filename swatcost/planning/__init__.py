"""Before a run: costs by module, comparisons, solving for a goal, the memory of a step, and planning whole runs."""

from swatcost.planning.audit import Audit, audit
from swatcost.planning.comparison import Comparison, NetworkComparison, compare, compare_networks
from swatcost.planning.conventions import Conventions, conventions
from swatcost.planning.difference import Difference, difference
from swatcost.planning.explanation import Explanation, explain
from swatcost.planning.inference import Inference, inference
from swatcost.planning.memory import MemoryReport, memory_of
from swatcost.planning.run_comparison import RunComparison, compare_runs
from swatcost.planning.run_plan import RunPlan, plan_run
from swatcost.planning.solution import Solution, solution, solve
from swatcost.planning.summary import Summary, summary
from swatcost.planning.sweep import sweep

__all__ = [
    "Audit", "Comparison", "Conventions", "Difference", "Explanation", "Inference", "MemoryReport", "NetworkComparison",
    "RunComparison", "RunPlan", "Solution", "Summary", "audit", "compare", "compare_networks", "compare_runs",
    "conventions", "difference", "explain", "inference", "memory_of", "plan_run", "solution", "solve", "summary",
    "sweep",
]  # fmt: skip
