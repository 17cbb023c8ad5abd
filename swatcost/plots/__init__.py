"""Plots, with matplotlib: functions that take what was computed and give a Figure.

Each draws on a `matplotlib.figure.Figure` of its own, not through pyplot: nothing global changes. `size` is "screen"
(8 in wide) or "column" (3.5 in, a column of a paper). `save` writes a figure to a .png, .svg or .pdf file, with
`title=False` without what stands above the axes. A notebook shows a figure that a cell ends with once it has run
`%matplotlib inline`.

Importing this package does not import matplotlib; drawing raises SwatcostError where it is missing.

    >>> from swatcost import estimate, plots
    >>> figure = plots.cost_by_layer(estimate("resnet50", weights=0.8, acts=0.8))
    >>> figure.axes[0].get_ylabel()
    'training MACs [MMAC per sample]'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from swatcost.common.lazy import attributes_from

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from swatcost.estimate import Estimate
    from swatcost.plots.accuracy import accuracy_by_reduction, check_accuracies
    from swatcost.plots.cycles import cycles_by_layer
    from swatcost.plots.explanation import reduction_by_switch
    from swatcost.plots.layers import cost_by_layer, reduction_by_layer, remaining_by_layer
    from swatcost.plots.memory import memory_timeline
    from swatcost.plots.period import speedup_by_period
    from swatcost.plots.saving import check_path, save
    from swatcost.plots.schedule import schedule_over_run
    from swatcost.plots.sparsity import speedup_by_sparsity

__all__ = [
    "CHARTS", "Chart", "accuracy_by_reduction", "check_accuracies", "check_path", "cost_by_layer", "cycles_by_layer",
    "memory_timeline", "reduction_by_layer", "reduction_by_switch", "remaining_by_layer", "save", "schedule_over_run",
    "speedup_by_period", "speedup_by_sparsity",
]  # fmt: skip


__getattr__ = attributes_from(
    __name__,
    {
        "swatcost.plots.accuracy": ("accuracy_by_reduction", "check_accuracies"),
        "swatcost.plots.explanation": ("reduction_by_switch",),
        "swatcost.plots.cycles": ("cycles_by_layer",),
        "swatcost.plots.layers": ("cost_by_layer", "reduction_by_layer", "remaining_by_layer"),
        "swatcost.plots.memory": ("memory_timeline",),
        "swatcost.plots.period": ("speedup_by_period",),
        "swatcost.plots.saving": ("check_path", "save"),
        "swatcost.plots.schedule": ("schedule_over_run",),
        "swatcost.plots.sparsity": ("speedup_by_sparsity",),
    },
)


class Chart(NamedTuple):
    """A plot of one estimate: what it shows, and the function of this package that draws it, by name."""

    title: str
    function: str

    def __call__(self, estimate: Estimate, *, size: str = "screen") -> Figure:
        figure: Figure = __getattr__(self.function)(estimate, size=size)
        return figure


CHARTS: dict[str, Chart] = {
    "cost": Chart("training MACs by layer and pass, sparse and dense", "cost_by_layer"),
    "reduction": Chart("reduction of MACs by layer and pass", "reduction_by_layer"),
    "remaining": Chart("the layers with the most remaining work", "remaining_by_layer"),
    "period": Chart("speedup (ideal or simulated) against the Top-K period", "speedup_by_period"),
}
"""Plots of one estimate by the name that `--chart` takes."""
