"""Work that a method adds to a network's own: branches beside layers, and what it does off the step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from swatcost.network.layer import Layer
from swatcost.network.passes import Pass


@dataclass(frozen=True, kw_only=True)
class Added:
    """What a method adds to a layer: MACs of the traced batch in each pass, and the shapes of weights that train.

    They are dense, whatever the layer is.
    """

    forward: float = 0
    grad_input: float = 0
    grad_weight: float = 0
    weights: tuple[tuple[int, ...], ...] = ()

    def macs(self, in_pass: Pass) -> float:
        """MACs of the traced batch in this pass."""
        return {"forward": self.forward, "grad_input": self.grad_input, "grad_weight": self.grad_weight}[in_pass]

    @property
    def elements(self) -> int:
        """The elements of all added weights."""
        return sum(map(prod, self.weights))


NOTHING = Added()
"""What most methods add."""


def low_rank(layer: Layer, *, rank: int) -> Added:
    """A branch of two thin layers beside a layer, as in LoRA: to `rank` features, and from them to the outputs.

    forward = grad_weight = N · H · W · r · (C · R · S + F)
    grad_input = N · H · W · r · F, and N · H · W · r · C · R · S more if the layer's input needs a gradient

    The first has the layer's kernel and stride, the second is 1 × 1: weights r × C × R × S and F × r. C is the channels
    of all groups. Each group of a routed layer has a branch of its own. Transposed convolutions get no branch.

    Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022, Section 4.1, for linear layers.
    """
    if layer.kind not in ("linear", "conv") or not rank:
        return NOTHING
    d = layer.symbols
    positions, channels = d.N * d.H * d.W, d.C * (1 if layer.routed else layer.groups)
    down, up = positions * rank * channels * d.R * d.S, positions * rank * d.F
    return Added(
        forward=down + up,
        grad_input=up + down * layer.input_needs_grad,
        grad_weight=down + up,
        weights=((rank, channels, *layer.weight_shape[2:]), (d.F, rank)) * (layer.groups if layer.routed else 1),
    )


@dataclass(frozen=True, kw_only=True)
class OffStep:
    """Work that a method does every `period` steps, such as a search for masks: FLOPs for each layer it is done for.

    It is reported beside the totals, which leave it out.

    Raises ValueError for a period below 1.
    """

    name: str
    period: int
    flops: Callable[[Layer], float]
    source: str

    def __post_init__(self) -> None:
        if self.period < 1:
            raise ValueError(f"{self.name}: every {self.period} steps is not a period")
