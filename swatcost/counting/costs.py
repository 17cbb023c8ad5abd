"""Costs that add: a layer sums its passes, a network its layers."""

from __future__ import annotations

from dataclasses import dataclass

from swatcost.network.network import per_sample
from swatcost.network.passes import PASSES as PASSES  # which callers had from here

FLOPS_PER_MAC = 2
"""One multiplication and one addition (SWAT, A.3.1)."""

AGREEMENT = 5e-5
"""Fractions that differ by less are alike to the two decimals of a per cent that reports show."""


@dataclass(frozen=True)
class Cost:
    """Work [MACs] or memory [bytes] when done densely, an exact integer, and expected when done sparsely.

    Per sample the dense figure is no integer where a batch's work does not divide by its samples.
    """

    dense: float = 0
    sparse: float = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.dense + other.dense, self.sparse + other.sparse)

    def __rmul__(self, times: float) -> Cost:
        return Cost(times * self.dense, times * self.sparse)

    @property
    def reduction(self) -> float:
        """1 − sparse / dense; 0 where there was no work to begin with."""
        return 1 - self.sparse / self.dense if self.dense else 0.0


@dataclass(frozen=True)
class PassCosts:
    """The costs [MACs] of a training step's three passes, a step on average over a run, and of inference after it.

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

    def per_sample(self, batch_size: int) -> PassCosts:
        """A batch's costs over its samples."""
        each = (self.forward, self.grad_input, self.grad_weight, self.recompute, self.inference)
        return PassCosts(*(Cost(per_sample(cost.dense, batch_size), cost.sparse / batch_size) for cost in each))

    def by_pass(self) -> dict[str, Cost]:
        """The three passes by name."""
        return {"forward": self.forward, "grad_input": self.grad_input, "grad_weight": self.grad_weight}

    def by_part(self) -> dict[str, Cost]:
        """What a training step adds up from, by name: the three passes, and what is recomputed."""
        return {**self.by_pass(), "recompute": self.recompute}

    def totals(self) -> dict[str, Cost]:
        """The three passes, what is recomputed if anything is, their sum, and inference."""
        recompute = {"recompute": self.recompute} if self.recompute.dense else {}
        return {**self.by_pass(), **recompute, "training": self.training, "inference": self.inference}

    @property
    def training(self) -> Cost:
        """A training step: all three passes, and what is recomputed."""
        return self.forward + self.grad_input + self.grad_weight + self.recompute
