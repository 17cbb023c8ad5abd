"""The times of many settings at once, and the periods that they allow: A.4's equations, solved for the period."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy

from swatcost.timing import topk

_LONGEST_PERIOD = 10**12


@dataclass(frozen=True, kw_only=True)
class Times:
    """Of every setting: the training reduction [-], a dense step and a Top-K [s]; arrays of one length.

    `hidden`: selections run beside training, and only what does not fit behind their period counts.
    """

    training_reduction: Any
    dense_step_seconds: Any
    topk_seconds: Any
    hidden: bool

    @property
    def sparse_step_seconds(self) -> Any:
        """Without Top-K [s]."""
        return (1 - self.training_reduction) * self.dense_step_seconds

    def speedup(self, period: Any) -> Any:
        """With a Top-K every period iterations (Eqs. 7 and 8) [-]."""
        return topk.speedup(
            dense_step_seconds=self.dense_step_seconds,
            training_reduction=self.training_reduction,
            topk_seconds=self.topk_seconds,
            period=period,
            hidden=self.hidden,
        )

    def overhead(self, period: Any) -> Any:
        """What a Top-K adds to the sparse steps of its period [-]."""
        steps = period * self.sparse_step_seconds
        added = self.topk_seconds
        if self.hidden:
            added = topk.exposed_seconds(
                topk_seconds=added, sparse_step_seconds=self.sparse_step_seconds, period=period
            )
        return added / steps

    def period_of_overhead(self, share: float) -> Any:
        """The shortest period whose Top-K adds at most this share to its sparse steps [iterations].

        P ≥ t_topk / (share · t_sparse); hidden, with t_topk − P · t_sparse in place of t_topk
        """
        return _whole(self.topk_seconds / ((share + self.hidden) * self.sparse_step_seconds))

    def period_of_speedup(self, speedup: float) -> Any:
        """The shortest period with this speedup S [iterations]; the longest there is where none has it.

        P · t ≥ S · (P · t_sparse + t_topk), Eq. 7; hidden, P · t ≥ S · t_topk where t ≥ S · t_sparse
        """
        gained = self.dense_step_seconds - speedup * self.sparse_step_seconds
        each = self.dense_step_seconds if self.hidden else gained
        with numpy.errstate(divide="ignore", invalid="ignore"):
            needed = numpy.where(gained > 0, speedup * self.topk_seconds / each, _LONGEST_PERIOD)
        return _whole(needed)

    def break_even_period(self) -> Any:
        """`topk.break_even_period` of every setting [iterations]; NaN where there is none."""
        saved = self.training_reduction * self.dense_step_seconds
        each = self.dense_step_seconds if self.hidden else saved
        with numpy.errstate(divide="ignore", invalid="ignore"):
            first = numpy.maximum(1, numpy.ceil(self.topk_seconds / each))
        return numpy.where(self.topk_seconds == 0, 1, numpy.where(saved > 0, first, numpy.nan))


def _whole(periods: Any) -> Any:
    return numpy.clip(numpy.ceil(periods), 1, _LONGEST_PERIOD).astype(numpy.int64)
