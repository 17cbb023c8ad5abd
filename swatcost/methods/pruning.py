"""Gradual magnitude pruning: dense at first, then sparsity rises along a cubic curve."""

from swatcost.methods.method import Method, Phase, sparse_in

_STEPS = 32_000  # RigL's ImageNet run, and the steps between which it prunes
_BEGIN, _END, _EVERY = 10_000, 25_000, 1_000


def cubic(progress: float) -> float:
    """The share of the final sparsity [-] that is reached at this progress [-] from begin (0) to end (1).

    s_t / s_f = 1 − (1 − (t − t0) / (t1 − t0))³

    Source: Zhu and Gupta, "To prune, or not to prune", 2017, Eq. 1.

    >>> cubic(0), cubic(0.5), cubic(1)
    (0.0, 0.875, 1.0)
    """
    return 1.0 - (1 - min(max(progress, 0), 1)) ** 3


def schedule(steps: int) -> tuple[Phase, ...]:
    """Sparsity moves every thirty-second of the run, from 10/32 to 25/32 of it: RigL's 10k to 25k of 32k steps."""
    parts = _STEPS // _EVERY
    moments = (part * _EVERY for part in range(parts))
    return tuple(Phase(1 / parts, cubic((moment - _BEGIN) / (_END - _BEGIN))) for moment in moments)


def published_schedule(steps: int) -> tuple[Phase, ...]:
    """The mean of the curve at 0, 1000, …, 32000 steps, both ends included, as RigL's public analysis has it."""
    samples = range(0, _STEPS + 1, _EVERY)
    share = 1 / len(samples)
    return tuple(Phase(share, cubic((moment - _BEGIN) / (_END - _BEGIN))) for moment in samples)


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
