"""How a method's sparsity, and what a step costs with it, move over a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swatcost.common.colours import BLUE, VERMILION
from swatcost.planning.run_plan import RunPlan
from swatcost.plots.canvas import GREY, finish, panels, size_named
from swatcost.report.estimate import asked
from swatcost.report.numbers import percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def schedule_over_run(plan: RunPlan, *, size: str = "screen") -> Figure:
    """Weight sparsity and what is left of a dense step's MACs, by epoch; their mean is what the run costs."""
    at = size_named(size)
    (axes,) = panels(at)
    found, moments = plan.estimate, plan.curve()
    dense = found.costs.training.dense
    epochs = [plan.epochs * each.begin for each in moments] + [plan.epochs * moments[-1].end]
    sparsities = [100 * each.weight_sparsity for each in moments]
    costs = [100 * each.training_macs / dense for each in moments]
    mean = 100 * found.costs.training.sparse / dense
    (cost,) = axes.step(epochs, [*costs, costs[-1]], where="post", color=BLUE, linewidth=at.line, label="MACs")
    (sparsity,) = axes.step(
        epochs, [*sparsities, sparsities[-1]], where="post", color=VERMILION, linewidth=at.line, linestyle=(0, (5, 2)),
        label="sparsity",
    )  # fmt: skip
    average = axes.axhline(mean, color=GREY, linewidth=0.9, linestyle=":", label="mean")
    axes.set(xlim=(0, plan.epochs), ylim=(0, 105), xlabel="epoch", ylabel="[%]")
    return finish(
        axes,
        at,
        title=f"{found.network.name}: {found.plan.method.name} over {plan.epochs} epochs of {plan.dataset}",
        caption=f"{asked(found)}; convention {found.convention.name}, any device.",
        legend=[
            (cost, "MACs of a training step, of dense ones"),
            (sparsity, "zeros among conv and linear weights"),
            (average, f"MACs on average over the run: {percent(mean / 100)}"),
        ],
    )
