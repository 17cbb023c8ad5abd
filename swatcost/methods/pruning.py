"""Gradual magnitude pruning: dense at first, then sparsity follows a cubic curve."""

from math import ceil

from swatcost.common.bound import bound
from swatcost.common.errors import SwatcostError
from swatcost.methods.method import Method, sparse_in, with_parameters
from swatcost.methods.parameter import Parameter
from swatcost.methods.phase import Phase

_RUN = "Evci et al., ICML 2020: steps 10k to 25k of 32k, every 1k"


def cubic(progress: float) -> float:
    """The fraction of the final sparsity [-] at this progress [-] from begin (0) to end (1).

    s_t / s_f = 1 − (1 − (t − t0) / (t1 − t0))³

    Source: Zhu and Gupta, "To prune, or not to prune", 2017, Eq. 1.

    >>> cubic(0), cubic(0.5), cubic(1)
    (0.0, 0.875, 1.0)
    """
    return 1.0 - (1 - min(max(progress, 0), 1)) ** 3


def schedule(steps: int, *, begin: float, end: float, every: float) -> tuple[Phase, ...]:
    """The sparsity changes at every multiple of `every` in the run, if that is from `begin` to `end` of it."""
    updates = [part * every for part in range(ceil(1 / every))]
    return tuple(Phase(min(every, 1 - at), cubic((at - begin) / (end - begin))) for at in updates)


def published_schedule(steps: int, *, begin: float, end: float, every: float) -> tuple[Phase, ...]:
    """The mean of the curve at every multiple of `every`, both ends included, as in RigL's public analysis."""
    samples = [part * every for part in range(int(1 / every) + 1)]
    return tuple(Phase(1 / len(samples), cubic((at - begin) / (end - begin))) for at in samples)


def pruning(*, begin: float, end: float, every: float) -> Method:
    """Pruning from the share `begin` of the run to `end`, in steps of `every`."""
    if not begin < end:
        raise SwatcostError(f"method 'pruning': it begins at {begin:g} and ends at {end:g}, give begin below end")
    times = {"begin": begin, "end": end, "every": every}
    return Method(
        name="pruning",
        title="Gradual magnitude pruning",
        citation="Zhu and Gupta, 2017; schedule of Evci et al., ICML 2020",
        sparse=sparse_in(forward=("weight",), grad_input=("weight",)),
        weight_gradient="active",
        across_layers="fixed or variable",
        schedule=bound(schedule, **times),
        published_schedule=bound(published_schedule, **times),
    )


METHOD = with_parameters(
    pruning,
    Parameter(name="begin", default=10 / 32, least=0, most=1, meaning="share of the run before pruning", source=_RUN),
    Parameter(name="end", default=25 / 32, least=0, most=1, meaning="share of the run after which sparsity is final",
              source=_RUN),
    Parameter(name="every", default=1 / 32, least=1e-4, most=1, meaning="time from one change of the sparsity to the "
              "next, as a share of the run", source=_RUN),
)  # fmt: skip
