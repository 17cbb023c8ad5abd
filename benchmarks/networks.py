"""Networks that only the benchmarks need."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH, HEADS, KEY_VALUE_HEADS, MLP, LAYERS, TOKENS = 8192, 64, 8, 28_672, 80, 2048
_HEAD = WIDTH // HEADS


class DecoderLayer(nn.Module):
    """A layer of Llama 2 70B (arXiv 2307.09288): grouped-query attention with rotary positions, and a gated MLP."""

    def __init__(self) -> None:
        super().__init__()
        self.input_norm = nn.RMSNorm(WIDTH, eps=1e-5)
        self.q_proj = nn.Linear(WIDTH, WIDTH, bias=False)
        self.k_proj = nn.Linear(WIDTH, KEY_VALUE_HEADS * _HEAD, bias=False)
        self.v_proj = nn.Linear(WIDTH, KEY_VALUE_HEADS * _HEAD, bias=False)
        self.o_proj = nn.Linear(WIDTH, WIDTH, bias=False)
        self.mlp_norm = nn.RMSNorm(WIDTH, eps=1e-5)
        self.gate_proj = nn.Linear(WIDTH, MLP, bias=False)
        self.up_proj = nn.Linear(WIDTH, MLP, bias=False)
        self.down_proj = nn.Linear(MLP, WIDTH, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        y = self.input_norm(x)
        q, k, v = (
            each.unflatten(-1, (-1, _HEAD)).transpose(1, 2) for each in (self.q_proj(y), self.k_proj(y), self.v_proj(y))
        )
        attended = F.scaled_dot_product_attention(
            _rotated(q, cos, sin), _rotated(k, cos, sin), v, is_causal=True, enable_gqa=True
        )
        x = x + self.o_proj(attended.transpose(1, 2).flatten(2))
        y = self.mlp_norm(x)
        return x + self.down_proj(F.silu(self.gate_proj(y)) * self.up_proj(y))


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    one, other = x.chunk(2, -1)
    return x * cos + torch.cat([-other, one], -1) * sin


class Llama70B(nn.Module):
    """80 such layers, for the hidden states of 2048 tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer() for _ in range(LAYERS))
        self.norm = nn.RMSNorm(WIDTH, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        frequencies = 10_000 ** -(torch.arange(0, _HEAD, 2, device=x.device) / _HEAD)
        angles = torch.outer(torch.arange(x.shape[1], device=x.device), frequencies).repeat(1, 2)
        cos, sin = angles.cos(), angles.sin()
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.norm(x)
