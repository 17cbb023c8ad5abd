"""Small networks whose multiplications can be counted by hand.

The numbers are MACs of the whole batch, written out as arithmetic: forward, and backward, which is the gradients of
inputs and weights that a loss over all outputs needs, with what checkpointing recomputes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.utils.checkpoint import checkpoint

import swatcost


@dataclass(frozen=True)
class Case:
    """A network, what it is called with, and its MACs by hand.

    `torch_counts` is False where torch's counter is known to miss or to overcount something.
    """

    title: str
    build: Callable[[], nn.Module]
    inputs: Callable[[], tuple[Any, ...]]
    forward: int
    backward: int
    torch_counts: bool = True
    batch_size: int = 2


class Applied(nn.Module):
    """Parts and parameters, and what is done with them."""

    def __init__(self, function: Callable[..., Any], parts: dict[str, nn.Module | nn.Parameter]) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(self, *inputs)


def weights(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape))


def tensors(*shape: int) -> Callable[[], tuple[Any, ...]]:
    return lambda: (torch.randn(shape),)


def frozen(module: nn.Module) -> nn.Module:
    return module.requires_grad_(False)


def pruned(module: nn.Module) -> nn.Module:
    return prune.random_unstructured(module, "weight", 0.5)


def heads(x: Tensor, number: int) -> Tensor:
    return x.unflatten(-1, (number, -1)).transpose(1, 2)


def attention(self: Any, x: Tensor) -> Tensor:
    q, k, v = self.qkv(x).chunk(3, -1)
    return torch.softmax(q @ k.transpose(1, 2), -1) @ v


def fused_attention(causal: bool) -> Callable[..., Tensor]:
    def function(self: Any, x: Tensor) -> Tensor:
        q, k, v = (heads(each, 2) for each in self.qkv(x).chunk(3, -1))
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)

    return function


def grouped_query(self: Any, x: Tensor) -> Tensor:
    q, k, v = self.qkv(x).split((12, 6, 6), -1)
    return F.scaled_dot_product_attention(heads(q, 4), heads(k, 2), heads(v, 2), enable_gqa=True)


def frozen_encoder(self: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        x = self.encoder(x)
    return self.head(x)


def kept_in_evaluation() -> nn.Module:
    """Trains its head only; the encoder stays in evaluation mode, where torch takes its fast path."""
    encoder = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)
    network = Applied(frozen_encoder, {"encoder": frozen(encoder), "head": nn.Linear(6, 5)}).train()
    encoder.eval()
    return network


def checkpointed(use_reentrant: bool) -> Callable[..., Tensor]:
    def function(self: Any, x: Tensor) -> Tensor:
        return self.head(checkpoint(self.block, self.stem(x), use_reentrant=use_reentrant))

    return function


def block() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 6))


# The layers that several cases are made of, with a batch of 2.
POINTWISE = 2 * (4 * 6) * 25  # a 1 × 1 convolution from 4 to 6 channels on 5 × 5
STEM = 2 * 6 * 6  # a linear layer from 6 to 6 features
BLOCK = 2 * 6 * 7  # each of the two layers of a block
HEAD = 2 * 6 * 5
QKV = 2 * 4 * 6 * 18  # from 6 to 3 · 6 features at 4 positions
SCORES = 2 * 4 * 4 * 6  # Q · Kᵀ over all heads; P · V costs as much

CASES = [
    Case(
        "linear layer on a 3-D input",
        lambda: nn.Linear(8, 5),
        tensors(2, 3, 8),
        forward=2 * 3 * 8 * 5,
        backward=2 * 3 * 8 * 5,  # the weight's gradient; the input needs none
    ),
    Case(
        "functional convolution, stride 2",
        lambda: Applied(lambda self, x: F.conv2d(x, self.w, stride=2), {"w": weights(4, 3, 3, 3)}),
        tensors(2, 3, 9, 9),
        forward=2 * 4 * 27 * 16,  # 4 × 4 outputs
        backward=2 * 4 * 27 * 16,
    ),
    Case(
        "functional linear, then @",
        lambda: Applied(lambda self, x: F.linear(x, self.a) @ self.b, {"a": weights(7, 8), "b": weights(7, 3)}),
        tensors(2, 8),
        forward=2 * 8 * 7 + 2 * 7 * 3,
        backward=2 * 8 * 7 + 2 * (2 * 7 * 3),  # the second layer passes a gradient on
    ),
    Case(
        "matrix products with the weight on the left, and with a vector",
        lambda: Applied(lambda self, x: self.v @ (self.w @ x), {"w": weights(7, 8), "v": weights(7)}),
        tensors(2, 8, 3),
        forward=2 * 7 * 8 * 3 + 2 * 7 * 3,
        backward=2 * 7 * 8 * 3 + 2 * (2 * 7 * 3),
        torch_counts=False,
    ),
    Case(
        "einsum with a weight",
        lambda: Applied(lambda self, x: torch.einsum("btd,dhk->bthk", x, self.w), {"w": weights(8, 2, 3)}),
        tensors(2, 4, 8),
        forward=2 * 4 * 8 * (2 * 3),
        backward=2 * 4 * 8 * (2 * 3),
    ),
    Case(
        "batched product with experts' weights",
        lambda: Applied(lambda self, x: torch.baddbmm(self.b, x, self.w), {"w": weights(3, 8, 5), "b": weights(5)}),
        tensors(3, 4, 8),  # 3 experts with 4 rows each
        forward=3 * 4 * 8 * 5,
        backward=3 * 4 * 8 * 5,
        batch_size=3,
    ),
    Case(
        "grouped convolution",
        lambda: nn.Sequential(nn.Conv2d(4, 6, 1), nn.Conv2d(6, 6, 3, padding=1, groups=3)),
        tensors(2, 4, 5, 5),
        forward=POINTWISE + 2 * 6 * (2 * 9) * 25,
        backward=POINTWISE + 2 * (2 * 6 * (2 * 9) * 25),
        torch_counts=False,
    ),
    Case(
        "depthwise convolution",
        lambda: nn.Sequential(nn.Conv2d(4, 6, 1), nn.Conv2d(6, 6, 3, padding=1, groups=6)),
        tensors(2, 4, 5, 5),
        forward=POINTWISE + 2 * 6 * 9 * 25,
        backward=POINTWISE + 2 * (2 * 6 * 9 * 25),
        torch_counts=False,
    ),
    Case(
        "transposed convolution, stride 2",
        lambda: nn.Sequential(nn.Conv2d(4, 6, 1), nn.ConvTranspose2d(6, 3, 2, stride=2)),
        tensors(2, 4, 5, 5),
        forward=POINTWISE + 2 * 6 * 3 * 4 * 25,  # each weight meets each of the 25 inputs once
        backward=POINTWISE + 2 * (2 * 6 * 3 * 4 * 25),
    ),
    Case(
        "strided convolution",
        lambda: nn.Sequential(nn.Conv2d(4, 6, 1), nn.Conv2d(6, 3, 3, stride=2)),
        tensors(2, 4, 5, 5),
        forward=POINTWISE + 2 * 3 * (6 * 9) * 4,  # 2 × 2 outputs
        backward=POINTWISE + 2 * (2 * 3 * (6 * 9) * 4),
    ),
    Case(
        "convolution of a pruned weight",
        lambda: nn.Sequential(nn.Conv2d(4, 6, 1), pruned(nn.Conv2d(6, 3, 3))),
        tensors(2, 4, 5, 5),
        forward=POINTWISE + 2 * 3 * (6 * 9) * 9,
        backward=POINTWISE + 2 * (2 * 3 * (6 * 9) * 9),
    ),
    Case(
        "attention written with @",
        lambda: Applied(attention, {"qkv": nn.Linear(6, 18)}),
        tensors(2, 4, 6),
        forward=QKV + 2 * SCORES,
        backward=QKV + 2 * (2 * SCORES),  # each product has two gradients
    ),
    Case(
        "scaled_dot_product_attention",
        lambda: Applied(fused_attention(False), {"qkv": nn.Linear(6, 18)}),
        tensors(2, 4, 6),
        forward=QKV + 2 * SCORES,
        backward=QKV + 2 * (2 * SCORES),
        torch_counts=False,
    ),
    Case(
        "causal attention (the mask saves nothing)",
        lambda: Applied(fused_attention(True), {"qkv": nn.Linear(6, 18)}),
        tensors(2, 4, 6),
        forward=QKV + 2 * SCORES,
        backward=QKV + 2 * (2 * SCORES),
        torch_counts=False,
    ),
    Case(
        "grouped-query attention",
        lambda: Applied(grouped_query, {"qkv": nn.Linear(6, 24)}),
        tensors(2, 4, 6),
        forward=2 * 4 * 6 * 24 + 2 * (2 * 4 * (4 * 4 * 3)),  # 4 heads of queries, 3 features each
        backward=2 * 4 * 6 * 24 + 2 * 2 * (2 * 4 * (4 * 4 * 3)),
        torch_counts=False,
    ),
    Case(
        "nn.MultiheadAttention",
        lambda: Applied(lambda self, x: self.mha(x, x, x)[0], {"mha": nn.MultiheadAttention(6, 2, batch_first=True)}),
        tensors(2, 4, 6),
        forward=QKV + 2 * SCORES + 2 * 4 * 6 * 6,
        backward=QKV + 2 * (2 * SCORES + 2 * 4 * 6 * 6),
    ),
    Case(
        "frozen encoder on its fast path",
        kept_in_evaluation,
        tensors(2, 4, 6),
        forward=QKV + 2 * SCORES + 2 * 4 * 6 * 6 + 2 * (2 * 4 * 6 * 8) + 2 * 4 * 6 * 5,
        backward=2 * 4 * 6 * 5,  # the head's weight
        torch_counts=False,
    ),
    Case(
        "LSTM",
        lambda: nn.LSTM(4, 5, batch_first=True),
        tensors(2, 3, 4),
        forward=2 * 3 * 20 * (4 + 5),  # 4 gates of 5, 3 steps
        backward=2 * 3 * 20 * (4 + 5) + 2 * (3 - 1) * 20 * 5,  # the first state needs no gradient, nor does the input
        torch_counts=False,
    ),
    Case(
        "GRU, two layers",
        lambda: nn.GRU(4, 5, num_layers=2),
        tensors(3, 2, 4),
        forward=2 * 3 * 15 * (4 + 5) + 2 * 3 * 15 * (5 + 5),
        backward=2 * 3 * 15 * (4 + 5)
        + 2 * 2 * 15 * 5  # layer 1: states of two steps
        + 2 * 3 * 15 * (5 + 5)
        + 2 * 3 * 15 * 5
        + 2 * 2 * 15 * 5,  # layer 2: its input too
    ),
    Case(
        "RNN, bidirectional",
        lambda: nn.RNN(4, 5, bidirectional=True),
        tensors(3, 2, 4),
        forward=2 * (2 * 3 * 5 * (4 + 5)),
        backward=2 * (2 * 3 * 5 * (4 + 5) + 2 * 2 * 5 * 5),
    ),
    Case(
        "module called twice",
        lambda: Applied(lambda self, x: self.stem(self.stem(x)), {"stem": nn.Linear(6, 6)}),
        tensors(2, 6),
        forward=2 * STEM,
        backward=STEM + 2 * STEM,
    ),
    Case(
        "embedding that is also the head",
        lambda: Applied(lambda self, x: self.table(x) @ self.table.weight.t(), {"table": nn.Embedding(10, 4)}),
        lambda: (torch.zeros(2, 3, dtype=torch.long),),
        forward=2 * 3 * 4 * 10,
        backward=2 * (2 * 3 * 4 * 10),
    ),
    Case(
        "frozen backbone",
        lambda: nn.Sequential(frozen(block()), nn.Linear(6, 5)),
        tensors(2, 6),
        forward=2 * BLOCK + HEAD,
        backward=HEAD,  # the head's weight, nothing else
    ),
    Case(
        "frozen layer in the middle",
        lambda: nn.Sequential(nn.Linear(6, 6), frozen(block()), nn.Linear(6, 5)),
        tensors(2, 6),
        forward=STEM + 2 * BLOCK + HEAD,
        backward=STEM + 2 * BLOCK + 2 * HEAD,  # the frozen layers only pass gradients on
    ),
    Case(
        "branch that no output needs",
        lambda: Applied(
            lambda self, x: (self.head(x), self.block(x).detach())[0], {"head": nn.Linear(6, 5), "block": block()}
        ),
        tensors(2, 6),
        forward=HEAD + 2 * BLOCK,
        backward=HEAD,
    ),
    Case(
        "checkpointed block",
        lambda: Applied(
            checkpointed(False), {"stem": nn.Linear(6, 6), "block": block(), "head": nn.Linear(6, 5)}
        ),
        tensors(2, 6),
        forward=STEM + 2 * BLOCK + HEAD,
        # what is saved last is the input of the block's second layer: only the first runs again
        backward=STEM + 2 * (2 * BLOCK) + 2 * HEAD + BLOCK,
    ),
    Case(
        "checkpointed block, reentrant",
        lambda: Applied(
            checkpointed(True), {"stem": nn.Linear(6, 6), "block": block(), "head": nn.Linear(6, 5)}
        ),
        tensors(2, 6),
        forward=STEM + 2 * BLOCK + HEAD,
        backward=STEM + 2 * (2 * BLOCK) + 2 * HEAD + 2 * BLOCK,  # the whole block runs again
    ),
]  # fmt: skip


def macs(network: swatcost.Network) -> tuple[float, float]:
    """Forward and backward MACs of the whole traced batch, as autograd executes them."""
    costs = swatcost.estimate(network, convention="exact").costs
    backward = costs.grad_input + costs.grad_weight + costs.recompute
    return costs.forward.dense * network.batch_size, backward.dense * network.batch_size
