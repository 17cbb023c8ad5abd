"""Gradual magnitude pruning: dense at first, then sparsity follows a cubic curve."""

from swatcost.methods.method import Method, Phase, sparse_in

_STEPS = 32_000  # RigL's ImageNet run; below, the first and last pruning step and the interval
_BEGIN, _END, _EVERY = 10_000, 25_000, 1_000


def cubic(progress: float) -> float:
    """The fraction of the final sparsity [-] at this progress [-] from begin (0) to end (1).

    s_t / s_f = 1 − (1 − (t − t0) / (t1 − t0))³

    Source: Zhu and Gupta, "To prune, or not to prune", 2017, Eq. 1.

    >>> cubic(0), cubic(0.5), cubic(1)
    (0.0, 0.875, 1.0)
    """
    return 1.0 - (1 - min(max(progress, 0), 1)) ** 3


def schedule(steps: int) -> tuple[Phase, ...]:
    """Sparsity changes every 1/32 of the run, from 10/32 to 25/32 of it: RigL's steps 10k to 25k of 32k."""
    parts = _STEPS // _EVERY
    updates = (part * _EVERY for part in range(parts))
    return tuple(Phase(1 / parts, cubic((step - _BEGIN) / (_END - _BEGIN))) for step in updates)


def published_schedule(steps: int) -> tuple[Phase, ...]:
    """The mean of the curve at steps 0, 1000, …, 32000, both ends included, as in RigL's public analysis."""
    samples = range(0, _STEPS + 1, _EVERY)
    share = 1 / len(samples)
    return tuple(Phase(share, cubic((step - _BEGIN) / (_END - _BEGIN))) for step in samples)


METHOD = Method(
    name="pruning",
    title="Gradual magnitude pruning",
    citation="Zhu and Gupta, 2017; schedule of Evci et al., ICML 2020",
    sparse=sparse_in(forward=("weight",), grad_input=("weight",)),
    weight_gradient="active",
    across_layers="fixed or variable",
    schedule=schedule,
    published_schedule=published_schedule,
)
