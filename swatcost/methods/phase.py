"""Phases of a training run, in each of which sparsity is constant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from swatcost.common.elementwise import any_of, where
from swatcost.common.errors import SwatcostError


@dataclass(frozen=True)
class Phase:
    """A share of a run's steps with constant sparsity.

    `scale` is the fraction of the target sparsity that is reached [-], in every operand and layer. `density_scale` is
    the density of the network's weights over that of the target [-], in a phase that is sparser than the target; layers
    that are dense stay so. One of the two is 1. They are arrays if the target is, with one element per setting.
    `dense_weight_gradient` says that the gradient is computed for every weight, although the method otherwise needs it
    for the active ones only. `adds` says that what the method adds to layers runs, such as its branches.

    Raises ValueError for a share or a scale outside [0, 1], for a density of 0, and for two scales.
    """

    share: float
    scale: Any = 1.0
    dense_weight_gradient: bool = False
    density_scale: Any = 1.0
    adds: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1 or not _within(self.scale) or not _within(self.density_scale):
            raise ValueError(f"{self}: its share and its scales are fractions")
        if any_of(self.density_scale == 0):
            raise ValueError(f"{self}: no weight is left")
        if any_of((self.scale != 1) & (self.density_scale != 1)):
            raise ValueError(f"{self}: it is denser than the target and sparser")

    @staticmethod
    def at(
        share: float, sparsity: Any, target: Any, *, dense_weight_gradient: bool = False, adds: bool = True
    ) -> Phase:
        """The phase in which the weights have this sparsity [-], where the target weight sparsity is another [-].

        A denser phase than the target multiplies every layer's sparsity by s_t / s_f, a sparser one the density by
        (1 − s_t) / (1 − s_f). At a target of 0 nothing is sparse in any phase.

        Raises SwatcostError for a sparsity outside [0, 1), which a target near 0 or 1 may come to.

        >>> Phase.at(0.5, 0.45, 0.9).scale
        0.5
        >>> round(Phase.at(0.5, 0.92, 0.9).density_scale, 9)  # 0.08 / 0.1
        0.8
        """
        sparsity = where(target == 0, 0.0, sparsity)
        if not _within(sparsity) or any_of(sparsity == 1):
            at_fault = (sparsity < 0) | (sparsity >= 1)
            raise SwatcostError(
                f"weights {_first(target, at_fault):g}: the method's schedule comes to a sparsity of "
                f"{_first(sparsity, at_fault):g}: choose a target further from 0 and from 1"
            )
        denser, sparser = sparsity < target, sparsity > target
        return Phase(
            share,
            where(denser, sparsity / where(denser, target, 1.0), 1.0),
            dense_weight_gradient,
            where(sparser, (1 - sparsity) / (1 - target), 1.0),
            adds,
        )

    @property
    def is_at_target(self) -> bool:
        """Whether it has the target's sparsity, and all settings of arrays do."""
        return not any_of((self.scale != 1) | (self.density_scale != 1))

    @property
    def reached(self) -> tuple[float, float]:
        """What two phases of one sparsity have in common."""
        return self.scale, self.density_scale


def _within(value: Any) -> bool:
    """Whether a number, or each of an array, is in [0, 1]."""
    ends = (value.min(), value.max()) if hasattr(value, "min") else (value,)
    return all(0 <= end <= 1 for end in ends)


def _first(value: Any, at_fault: Any) -> float:
    """A number, or the first of an array where the other array holds."""
    return float(value[at_fault][0] if hasattr(value, "shape") else value)


Schedule = Callable[[int], tuple[Phase, ...]]
"""Number of training steps of a run → its phases, whose shares add up to 1."""

TargetSchedule = Callable[[int, Any], tuple[Phase, ...]]
"""The same from the number of steps and the target weight sparsity [-], which is an array for many settings."""


def constant(steps: int) -> tuple[Phase, ...]:
    """The target sparsity from the first step to the last."""
    return (Phase(1.0),)
