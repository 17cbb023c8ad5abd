"""The times of a step, their speedup, and A.4's equations solved for the period."""

from dataclasses import dataclass, replace
from typing import Any

from swatcost.common.elementwise import where
from swatcost.timing import topk

_LONGEST_PERIOD = 10**12


@dataclass(frozen=True, kw_only=True)
class Times:
    """A training reduction [-], a dense step and a Top-K refresh [s]: numbers, or arrays with one element per setting.

    `reduction` is 1 − sparse / dense time of a step without Top-K: that of its FLOPs (A.4), or a simulated one.
    `attainable_step_seconds` is the attainable time of a sparse step without Top-K [s]. `hidden`: selections overlap
    with training, and only the time that exceeds the steps of a period counts.
    """

    reduction: Any
    dense_step_seconds: Any
    topk_seconds: Any
    attainable_step_seconds: Any
    hidden: bool = False

    @property
    def speedup_limit(self) -> Any:
        """The speedup without Top-K overhead [-]."""
        return topk.speedup_limit(self.reduction)

    def exposed_topk_seconds(self, period: Any) -> Any:
        """The time that an overlapped Top-K refresh adds to its period [s]."""
        return topk.exposed_seconds(
            topk_seconds=self.topk_seconds, sparse_step_seconds=self.sparse_step_seconds, period=period
        )

    def added_topk_seconds(self, period: Any) -> Any:
        """The time that a Top-K refresh adds to its period [s]: all of it, or if hidden only the exposed part."""
        return self.exposed_topk_seconds(period) if self.hidden else self.topk_seconds

    @property
    def sparse_step_seconds(self) -> Any:
        """The time of a sparse step without Top-K [s]."""
        return (1 - self.reduction) * self.dense_step_seconds

    def speedup(self, period: Any) -> Any:
        """The speedup with a Top-K refresh every `period` iterations (Eqs. 7 and 8) [-]."""
        return topk.speedup(
            dense_step_seconds=self.dense_step_seconds,
            training_reduction=self.reduction,
            topk_seconds=self.topk_seconds,
            period=period,
            hidden=self.hidden,
        )

    @property
    def attainable(self) -> "Times":
        """These times with the attainable step as the sparse one: what follows from them is attainable, not ideal."""
        return replace(self, reduction=1 - self.attainable_step_seconds / self.dense_step_seconds)

    def overhead(self, period: Any) -> Any:
        """The time that a Top-K refresh adds, relative to the sparse steps of its period [-]."""
        return self.added_topk_seconds(period) / (period * self.sparse_step_seconds)

    def period_of_overhead(self, share: float) -> Any:
        """The shortest period [iterations] with an `overhead` of at most this share.

        P ≥ t_topk / (share · t_sparse); hidden, with t_topk − P · t_sparse in place of t_topk
        """
        return _whole(self.topk_seconds / ((share + self.hidden) * self.sparse_step_seconds))

    def period_of_speedup(self, speedup: float) -> Any:
        """The shortest period [iterations] with this speedup S; 10^12 if no period has it.

        P · t ≥ S · (P · t_sparse + t_topk), Eq. 7; hidden, P · t ≥ S · t_topk where t ≥ S · t_sparse
        """
        gained = self.dense_step_seconds - speedup * self.sparse_step_seconds
        each = self.dense_step_seconds if self.hidden else gained
        needed = speedup * self.topk_seconds / (each + (each == 0))  # where nothing is gained the quotient is not used
        return _whole(where(gained > 0, needed, _LONGEST_PERIOD))

    def break_even_period(self) -> Any:
        """`topk.break_even_period` [iterations]; None if there is none, NaN in arrays."""
        return topk.break_even_period(
            dense_step_seconds=self.dense_step_seconds,
            training_reduction=self.reduction,
            topk_seconds=self.topk_seconds,
            hidden=self.hidden,
        )


def _whole(periods: Any) -> Any:
    import numpy

    return numpy.clip(numpy.ceil(periods), 1, _LONGEST_PERIOD).astype(numpy.int64)
