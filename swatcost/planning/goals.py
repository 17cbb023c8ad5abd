"""What is asked of a setting, and what one gives."""

from dataclasses import dataclass

from swatcost.common.errors import SwatcostError
from swatcost.methods.method import OPERANDS

STEP = 1e-4
"""Sparsities are looked for in steps of this [-]; the last one below 1 is taken as the most that can be asked for."""


@dataclass(frozen=True, kw_only=True)
class Goals:
    """What is to be reached; None where nothing was asked.

    `speedup` is of a training step, Top-K included [-]; `training_flops` what may be left of a dense step's FLOPs [-];
    `memory_bytes` the peak of a step with everything in its smallest storage format [bytes]; `topk_overhead` what a
    Top-K may add to the sparse steps of its period [-].
    """

    speedup: float | None = None
    training_flops: float | None = None
    memory_bytes: int | None = None
    topk_overhead: float | None = None

    def __post_init__(self) -> None:
        if all(each is None for each in vars(self).values()):
            raise SwatcostError("nothing to solve for: give a speedup, training FLOPs, memory or a Top-K overhead")
        if self.speedup is not None and not 0 < self.speedup < 1e9:
            raise SwatcostError(f"speedup {self.speedup:g}: give a factor above 0, such as 4")
        if self.training_flops is not None and not 0 < self.training_flops <= 1:
            raise SwatcostError(
                f"training FLOPs {self.training_flops:g}: give what may be left of dense training, such as 0.3 or 30%"
            )
        if self.topk_overhead is not None and not 0 < self.topk_overhead < 1e9:
            raise SwatcostError(f"Top-K overhead {self.topk_overhead:g}: give a share above 0, such as 1%")


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """Sparsities [-], a period [iterations] and what they give; None for what the method does not make sparse.

    `training_flops` is what is left of dense training [-], `topk_overhead` a Top-K's time over that of the sparse steps
    of its period [-], `memory_bytes` the peak where memory was a goal.
    """

    weights: float | None
    acts: float | None
    grads: float | None
    period: int
    speedup: float
    speedup_limit: float
    training_flops: float
    topk_overhead: float
    memory_bytes: int | None = None

    @property
    def targets(self) -> dict[str, float]:
        """The sparsities that are given, by name."""
        return {name: getattr(self, name) for name in OPERANDS if getattr(self, name) is not None}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a search found; see `planning.Solution`."""

    least: OperatingPoint | None = None
    exact: float | None = None
    limit: OperatingPoint | None = None
    unreached: tuple[str, ...] = ()
    freedom: tuple[OperatingPoint, ...] = ()
