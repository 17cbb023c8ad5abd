"""The goals of a search, and the operating points that it finds."""

from dataclasses import dataclass

from swatcost.common.errors import SwatcostError
from swatcost.methods.method import OPERANDS

STEP = 1e-4
"""Resolution of the search over sparsities [-]; the largest sparsity tried is 1 − STEP."""


@dataclass(frozen=True, kw_only=True)
class Goals:
    """The goals; None for those not set.

    `speedup`: at least this speedup of a training step, Top-K included [-], the ideal one or, with `attainable`, that
    of the device's known kernels; `training_flops`: at most this share of a dense step's FLOPs [-]; `memory_bytes`: at
    most this peak of a step, each tensor in its smallest storage format [bytes]; `topk_overhead`: at most this ratio of
    a Top-K's time to that of the sparse steps of its period [-].
    """

    speedup: float | None = None
    training_flops: float | None = None
    memory_bytes: int | None = None
    topk_overhead: float | None = None
    attainable: bool = False

    def __post_init__(self) -> None:
        if {self.speedup, self.training_flops, self.memory_bytes, self.topk_overhead} == {None}:
            raise SwatcostError("nothing to solve for: give a speedup, training FLOPs, memory or a Top-K overhead")
        if self.speedup is not None and not 0 < self.speedup < 1e9:
            raise SwatcostError(f"speedup {self.speedup:g}: give a factor above 0, such as 4")
        if self.training_flops is not None and not 0 < self.training_flops <= 1:
            raise SwatcostError(
                f"training FLOPs {self.training_flops:g}: give a share of dense training, such as 0.3 or 30%"
            )
        if self.topk_overhead is not None and not 0 < self.topk_overhead < 1e9:
            raise SwatcostError(f"Top-K overhead {self.topk_overhead:g}: give a share above 0, such as 1%")


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """Sparsities [-], a period [iterations] and what they cost; None for operands that the method keeps dense.

    The speedups are ideal but for `attainable_speedup`. `training_flops` is relative to dense training [-],
    `topk_overhead` a Top-K's time over that of the sparse steps of its period [-], `memory_bytes` the peak, if memory
    was a goal.
    """

    weights: float | None
    acts: float | None
    grads: float | None
    period: int
    speedup: float
    speedup_limit: float
    training_flops: float
    topk_overhead: float
    attainable_speedup: float
    memory_bytes: int | None = None

    @property
    def targets(self) -> dict[str, float]:
        """The sparsities that are set, by name."""
        return {name: getattr(self, name) for name in OPERANDS if getattr(self, name) is not None}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The result of a search; see `planning.Solution`."""

    least: OperatingPoint | None = None
    exact: float | None = None
    limit: OperatingPoint | None = None
    unreached: tuple[str, ...] = ()
    freedom: tuple[OperatingPoint, ...] = ()
