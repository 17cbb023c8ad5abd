"""Top-K overhead and the speedup that remains (the paper's A.4).

Step time without Top-K is assumed to scale with FLOPs. Thresholds are found once every `period` iterations and reused
in between.

Source: Raihan and Aamodt, "Sparse Weight Activation Training", NeurIPS 2020, supplementary material A.4.
"""

from typing import Any

from swatcost.common.elementwise import ceiling, where

REDUCTIONS_OF_EQS_7_AND_8 = (0.761, 0.856)
"""The training-FLOP reductions [-] that the two equations insert, rounded as in the text."""


def selection_seconds(
    *, weight_elements: float, activation_elements: float, seconds_per_weight: float, seconds_per_activation: float
) -> float:
    """Time [s] of one Top-K selection in all weights and all activations.

    t = weights · t_w + activations · t_a       (A.4: the overhead increases linearly with size)

    weight_elements and activation_elements are the elements selected from [-]; t_w and t_a are seconds per element [s].

    >>> selection_seconds(weight_elements=4, activation_elements=2, seconds_per_weight=0.5, seconds_per_activation=3)
    8.0
    """
    return weight_elements * seconds_per_weight + activation_elements * seconds_per_activation


def exposed_seconds(*, topk_seconds: float, sparse_step_seconds: float, period: float) -> float:
    """The time [s] that a Top-K refresh adds to a period if it overlaps with training.

    max(0, t_topk − P · t_sparse)       (A.4, idea 3: hide the latency during the Top-K sampling period)

    Training is assumed not to wait for it, and it to run on separate hardware: an upper bound on what hiding saves. The
    first selection of a run, which cannot be hidden, is not counted.

    >>> exposed_seconds(topk_seconds=5.0, sparse_step_seconds=1.0, period=3)  # 5 − 3 · 1
    2.0
    >>> exposed_seconds(topk_seconds=5.0, sparse_step_seconds=1.0, period=10)
    0.0
    """
    excess = topk_seconds - period * sparse_step_seconds
    return excess * (excess > 0) + 0.0  # works for arrays too; + 0.0 avoids a negative zero


def speedup(
    *,
    dense_step_seconds: float,
    training_reduction: float,
    topk_seconds: float,
    period: float,
    hidden: bool = False,
) -> float:
    """Dense time over sparse time, for one Top-K period.

    Speed Up = P · t / ((P − 1) · (1 − r) · t + (1 − r) · t + t_topk)       (Eqs. 7 and 8)

    period is P, iterations from one Top-K refresh to the next [-]; dense_step_seconds is t, a dense forward and
    backward pass [s]; training_reduction is r, 1 − sparse / dense training FLOPs [-]; topk_seconds is t_topk, one Top-K
    refresh [s]; if hidden, only its exposed time counts (`exposed_seconds`).
    The paper writes the step with the Top-K refresh separately; here the P sparse steps are summed.

    With the numbers that are printed in Eqs. 7 and 8:

    >>> round(speedup(dense_step_seconds=0.147, training_reduction=0.761, topk_seconds=0.470, period=1000), 2)
    4.13
    >>> round(speedup(dense_step_seconds=0.147, training_reduction=0.856, topk_seconds=0.470, period=1000), 2)
    6.79
    """
    sparse_step_seconds = (1 - training_reduction) * dense_step_seconds
    if hidden:
        topk_seconds = exposed_seconds(
            topk_seconds=topk_seconds, sparse_step_seconds=sparse_step_seconds, period=period
        )
    return period * dense_step_seconds / (period * sparse_step_seconds + topk_seconds)


def speedup_limit(training_reduction: float) -> float:
    """The limit of the speedup as the period grows: 1 / (1 − r) [-].

    >>> speedup_limit(0.75)
    4.0
    """
    return 1 / (1 - training_reduction)


def break_even_period(
    *, dense_step_seconds: float, training_reduction: float, topk_seconds: float, hidden: bool = False
) -> Any:
    """The smallest period at which sparse training takes no longer than dense training: an int, None if there is none.

    P · r · t ≥ t_topk, so P = ceil(t_topk / (r · t))

    Symbols as in `speedup`. If there is nothing to select, the period is 1. A hidden Top-K refresh may take as long as
    the dense steps of its period: P · t ≥ t_topk. For arrays the periods are floats, NaN where there is none.

    >>> # 0.470 / (0.761 · 0.147) = 4.2
    >>> break_even_period(dense_step_seconds=0.147, training_reduction=0.761, topk_seconds=0.470)
    5
    """
    saved = training_reduction * dense_step_seconds
    covered = dense_step_seconds if hidden else saved
    period = ceiling(topk_seconds / (covered + (covered == 0)))  # where nothing is saved the quotient is not used
    return where(topk_seconds == 0, 1, where(saved > 0, period + (period < 1), None))
