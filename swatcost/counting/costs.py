"""Costs that add up: of passes to layers, of layers to networks."""

from __future__ import annotations

from dataclasses import dataclass

from swatcost.network.batches import per_sample
from swatcost.network.passes import PASSES as PASSES  # which callers had from here

FLOPS_PER_MAC = 2
"""One multiplication and one addition (SWAT, A.3.1)."""

AGREEMENT = 5e-5
"""Fractions that differ by less agree to the two decimals of a percentage that reports show."""


@dataclass(frozen=True)
class Cost:
    """Dense and sparse work [MACs] or memory [bytes]: an exact integer and an expected value.

    Per sample the dense figure is not an integer if the batch's work is not divisible by the batch size.
    """

    dense: float = 0
    sparse: float = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.dense + other.dense, self.sparse + other.sparse)

    def __rmul__(self, times: float) -> Cost:
        return Cost(times * self.dense, times * self.sparse)

    def __truediv__(self, count: float) -> Cost:
        """A batch's cost per sample, or a sample's per token: dense work stays an integer where it divides evenly."""
        return Cost(per_sample(self.dense, count), self.sparse / count)

    @property
    def reduction(self) -> float:
        """1 − sparse / dense; 0 if there is no dense work."""
        return 1 - self.sparse / self.dense if self.dense else 0.0


@dataclass(frozen=True)
class PassCosts:
    """The costs [MACs] of a training step's three passes, averaged over a run, and of inference with the trained model.

    `recompute` is forward work that activation checkpointing repeats in the backward pass.
    """

    forward: Cost = Cost()
    grad_input: Cost = Cost()
    grad_weight: Cost = Cost()
    recompute: Cost = Cost()
    inference: Cost = Cost()

    def __add__(self, other: PassCosts) -> PassCosts:
        return PassCosts(
            self.forward + other.forward,
            self.grad_input + other.grad_input,
            self.grad_weight + other.grad_weight,
            self.recompute + other.recompute,
            self.inference + other.inference,
        )

    def __rmul__(self, times: float) -> PassCosts:
        return PassCosts(
            times * self.forward, times * self.grad_input, times * self.grad_weight, times * self.recompute,
            times * self.inference,
        )  # fmt: skip

    def per_sample(self, batch_size: float) -> PassCosts:
        """A batch's costs per sample, or a sample's per token."""
        each = (self.forward, self.grad_input, self.grad_weight, self.recompute, self.inference)
        return PassCosts(*(cost / batch_size for cost in each))

    def by_pass(self) -> dict[str, Cost]:
        """The three passes by name."""
        return {"forward": self.forward, "grad_input": self.grad_input, "grad_weight": self.grad_weight}

    def by_part(self) -> dict[str, Cost]:
        """The parts of a training step by name: the three passes and recompute."""
        return {**self.by_pass(), "recompute": self.recompute}

    def totals(self) -> dict[str, Cost]:
        """The three passes, recompute if there is any, their sum, and inference."""
        recompute = {"recompute": self.recompute} if self.recompute.dense else {}
        return {**self.by_pass(), **recompute, "training": self.training, "inference": self.inference}

    @property
    def training(self) -> Cost:
        """A training step: all three passes and recompute."""
        return self.forward + self.grad_input + self.grad_weight + self.recompute


def per_token(cost: Cost, tokens: float) -> Cost:
    """FLOPs per token, from the MACs of a sample with `tokens` tokens."""
    return FLOPS_PER_MAC * cost / tokens
