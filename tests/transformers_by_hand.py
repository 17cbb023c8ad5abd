"""Transformers written out, as one GPU of several has them: its heads, its part of the hidden layer and vocabulary."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Core(nn.Module):
    """Attention between its linear layers, as recomputed selectively; it keeps softmax and its dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.1)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = torch.bmm(q, k.transpose(1, 2)) / math.sqrt(q.shape[-1])
        return torch.bmm(self.dropout(torch.softmax(scores, -1)), v)


class Attention(nn.Module):
    """As in Korthikanti et al. (2022), Section 4.1. The input is (s, b, h)."""

    def __init__(self, width: int, heads: int, gpus: int = 1, bias: bool = True) -> None:
        super().__init__()
        self.heads, self.head = heads // gpus, width // heads
        self.query, self.key, self.value = (nn.Linear(width, width // gpus, bias) for _ in range(3))
        self.core = Core()
        self.output = nn.Linear(width // gpus, width, bias)

    def forward(self, x: Tensor) -> Tensor:
        s, b, _ = x.shape
        q, k, v = (
            each(x).view(s, b * self.heads, self.head).transpose(0, 1) for each in (self.query, self.key, self.value)
        )
        result: Tensor = self.output(self.core(q, k, v).transpose(0, 1).reshape(s, b, -1))
        return result


class Block(nn.Module):
    """A transformer layer as in that paper: GELU, dropout after attention and after the MLP."""

    def __init__(self, width: int, heads: int, gpus: int = 1) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, gpus)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width // gpus), nn.GELU(), nn.Linear(4 * width // gpus, width))
        self.dropout1, self.dropout2 = nn.Dropout(0.1), nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout1(self.attention(self.norm1(x)))
        result: Tensor = x + self.dropout2(self.mlp(self.norm2(x)))
        return result


class GPT(nn.Module):
    """Blocks between an embedding and logits; the input is (s, b)."""

    def __init__(self, width: int, heads: int, layers: int, vocabulary: int, length: int, gpus: int = 1) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary // gpus, width)
        self.positions = nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads, gpus) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary // gpus, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.positions(torch.arange(len(tokens)))[:, None]
        for block in self.blocks:
            x = block(x)
        result: Tensor = self.head(self.norm(x))
        return result


class LlamaBlock(nn.Module):
    """Grouped queries, a gated MLP and no biases; the input is (b, s, h)."""

    def __init__(self, width: int, heads: int, groups: int, hidden: int, gpus: int = 1) -> None:
        super().__init__()
        self.head = width // heads
        self.norm1, self.norm2 = nn.RMSNorm(width), nn.RMSNorm(width)
        inner, shared = width // gpus, groups * self.head // gpus
        self.attention = nn.ModuleDict({
            "q": nn.Linear(width, inner, bias=False), "k": nn.Linear(width, shared, bias=False),
            "v": nn.Linear(width, shared, bias=False), "o": nn.Linear(inner, width, bias=False),
        })  # fmt: skip
        self.mlp = nn.ModuleDict({
            "gate": nn.Linear(width, hidden // gpus, bias=False), "up": nn.Linear(width, hidden // gpus, bias=False),
            "down": nn.Linear(hidden // gpus, width, bias=False),
        })  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        read = self.norm1(x)
        q, k, v = (self.attention[each](read).unflatten(-1, (-1, self.head)).transpose(1, 2) for each in "qkv")
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        x = x + self.attention["o"](mixed.transpose(1, 2).flatten(2))
        read = self.norm2(x)
        gated = nn.functional.silu(self.mlp["gate"](read)) * self.mlp["up"](read)
        result: Tensor = x + self.mlp["down"](gated)
        return result
