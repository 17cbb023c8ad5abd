"""How a method's sparsity, and with it the cost of a step, change over a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swatcost.common.colours import BLUE, VERMILION
from swatcost.plots.canvas import GREY, finish, panels
from swatcost.plots.sizes import size_named
from swatcost.report.estimate import asked
from swatcost.report.numbers import percent, token_count
from swatcost.report.run_plan import unit_of_length

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from swatcost.planning.run_plan import RunPlan
    from swatcost.plots.canvas import Entry


def schedule_over_run(plan: RunPlan, *, size: str = "screen") -> Figure:
    """Weight sparsity and a step's MACs relative to a dense step's [%], over epochs or tokens; the mean is what the run
    costs.
    """
    at = size_named(size)
    (axes,) = panels(at)
    found, moments = plan.estimate, plan.curve()
    dense = found.costs.training.dense
    unit, length = unit_of_length(plan)
    ends = [length * each.begin for each in moments] + [length * moments[-1].end]
    sparsities = [100 * each.weight_sparsity for each in moments]
    costs = [100 * each.training_macs / dense for each in moments]
    mean = 100 * found.costs.training.sparse / dense
    (cost,) = axes.step(ends, [*costs, costs[-1]], where="post", color=BLUE, linewidth=at.line, label="MACs")
    (sparsity,) = axes.step(
        ends, [*sparsities, sparsities[-1]], where="post", color=VERMILION, linewidth=at.line, linestyle=(0, (5, 2)),
        label="sparsity",
    )  # fmt: skip
    axes.set(xlim=(0, length), ylim=(0, max(105, 1.05 * max(costs))), xlabel=unit, ylabel="share [%]")
    legend: list[Entry] = [
        (cost, "training MACs relative to dense"), (sparsity, "sparsity of conv and linear weights"),
    ]  # fmt: skip
    constant = f" Both are constant: {percent(mean / 100)} of dense MACs."
    if len(set(costs)) > 1:
        constant = ""
        average = axes.axhline(mean, color=GREY, linewidth=0.9, linestyle=":", label="mean")
        legend.append((average, f"average over the run: {percent(mean / 100)} of dense"))
    return finish(
        axes,
        at,
        title=f"{found.network.name}: {found.plan.method.name} over {_length(plan)}",
        caption=f"{asked(found)}. MACs under the {found.convention.name} convention.{constant}",
        legend=legend,
    )


def _length(plan: RunPlan) -> str:
    if plan.tokens_asked is not None:
        return f"{token_count(plan.tokens_asked)} tokens"
    return f"{plan.epochs} epochs of {plan.dataset}"
