"""Llama 2, with 7, 13 and 70 billion parameters, and Llama 3 with 8 billion.

Source
------
Touvron et al., "Llama 2: Open Foundation and Fine-Tuned Chat Models", 2023 (arXiv 2307.09288), Section 2.2 and
Table 1: a context of 4096 tokens, and grouped queries in the largest; widths, heads and blocks of the two others are
those of "LLaMA" (arXiv 2302.13971, Table 2), with its RMSNorm before attention and MLP, gated MLP (SwiGLU), rotary
positions and no biases. Hidden widths of the MLPs (11,008, 13,824 and 28,672) are those of the released parameters. The
vocabulary has 32,000 tokens, and the output layer a weight of its own.

Grattafiori et al., "The Llama 3 Herd of Models", 2024 (arXiv 2407.21783), Section 3.2 and Table 3: the same with
grouped queries, a hidden width of 14,336, a vocabulary of 128,000 tokens (128,256 rows in the released parameters, with
special tokens), a base frequency of 500,000 for rotary positions, and a context of 8192 tokens.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Pairs of features (first half, second half) of (batch, heads, positions, features), turned by angles."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


class AttentionBlock(nn.Module):
    """A block whose `feed_forward` a subclass adds: a gated MLP, or a mixture of several."""

    def __init__(self, width: int, heads: int, groups: int) -> None:
        """`groups` is the number of heads of keys and values, which the heads of queries share."""
        super().__init__()
        self.features = width // heads
        self.norm_1, self.norm_2 = nn.RMSNorm(width, eps=1e-5), nn.RMSNorm(width, eps=1e-5)
        self.q = nn.Linear(width, width, bias=False)
        self.k = nn.Linear(width, groups * self.features, bias=False)
        self.v = nn.Linear(width, groups * self.features, bias=False)
        self.o = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        y = self.norm_1(x)
        q, k, v = (each(y).unflatten(-1, (-1, self.features)).transpose(1, 2) for each in (self.q, self.k, self.v))
        q, k = _rotated(q, cos, sin), _rotated(k, cos, sin)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=k.shape[1] != q.shape[1])
        x = x + self.o(mixed.transpose(1, 2).flatten(2))
        y = self.norm_2(x)
        return x + self.feed_forward(y)

    def feed_forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class Block(AttentionBlock):
    def __init__(self, width: int, heads: int, groups: int, hidden: int) -> None:
        super().__init__(width, heads, groups)
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def feed_forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Llama(nn.Module):
    """Tokens (batch, positions) → scores of the next token (batch, positions, vocabulary)."""

    def __init__(self, vocabulary: int, width: int, heads: int, base: int, blocks: Iterable[AttentionBlock]) -> None:
        """`base` is the base frequency of rotary positions."""
        super().__init__()
        self.features, self.base = width // heads, base
        self.tokens = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens)
        frequencies = self.base ** -(torch.arange(0, self.features, 2, device=x.device) / self.features)
        angles = torch.arange(tokens.shape[1], device=x.device)[:, None] * frequencies
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        for block in self.blocks:
            x = block(x, cos, sin)
        return self.head(self.norm(x))


def _llama(vocabulary: int, base: int, width: int, heads: int, groups: int, hidden: int, blocks: int) -> Llama:
    return Llama(vocabulary, width, heads, base, (Block(width, heads, groups, hidden) for _ in range(blocks)))


def llama2_7b(num_classes: int = 32_000) -> Llama:
    """Llama 2 7B."""
    return _llama(num_classes, 10_000, width=4096, heads=32, groups=32, hidden=11_008, blocks=32)


def llama2_13b(num_classes: int = 32_000) -> Llama:
    """Llama 2 13B."""
    return _llama(num_classes, 10_000, width=5120, heads=40, groups=40, hidden=13_824, blocks=40)


def llama2_70b(num_classes: int = 32_000) -> Llama:
    """Llama 2 70B, whose 64 heads of queries share 8 of keys and values."""
    return _llama(num_classes, 10_000, width=8192, heads=64, groups=8, hidden=28_672, blocks=80)


def llama3_8b(num_classes: int = 128_256) -> Llama:
    """Llama 3 8B, whose 32 heads of queries share 8 of keys and values."""
    return _llama(num_classes, 500_000, width=4096, heads=32, groups=8, hidden=14_336, blocks=32)
