"""Mixtral 8x7B: a sparse mixture of experts with 46.7 billion parameters, of which a token meets 12.9 billion.

Source
------
Jiang et al., "Mixtral of Experts", 2024 (arXiv 2401.04088), Section 2 and Table 1: 32 blocks of width 4096, 32 heads of
128 features whose queries share 8 heads of keys and values, 8 experts of hidden width 14,336 (gated MLPs), of which a
router chooses 2 per token, weighted by the softmax of their scores, a context of 32,768 tokens, and a vocabulary of
32,000. Attention and norms are Llama's; the base frequency of rotary positions, 1,000,000, is that of the released
parameters. There is no capacity: no token is dropped. The loss that balances experts is left out.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .llama import AttentionBlock, Llama

_WIDTH, _HEADS, _GROUPS, _HIDDEN, _BLOCKS = 4096, 32, 8, 14_336, 32
_EXPERTS, _ACTIVE = 8, 2


class ExpertLinear(nn.Module):
    """One matrix per expert, without bias; the products are grouped."""

    def __init__(self, features_in: int, features_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(_EXPERTS, features_out, features_in))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, rows: Tensor, ends: Tensor) -> Tensor:
        """Rows (rows, features in), sorted by expert; `ends` (experts) are where each expert's rows end."""
        return F.grouped_mm(rows, self.weight.to(rows.dtype).transpose(1, 2), offs=ends)


class Experts(nn.Module):
    """Gated MLPs, one per expert."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.up = ExpertLinear(_WIDTH, _HIDDEN), ExpertLinear(_WIDTH, _HIDDEN)
        self.down = ExpertLinear(_HIDDEN, _WIDTH)

    def forward(self, rows: Tensor, ends: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(rows, ends)) * self.up(rows, ends), ends)


class Block(AttentionBlock):
    def __init__(self) -> None:
        super().__init__(_WIDTH, _HEADS, _GROUPS)
        self.router = nn.Linear(_WIDTH, _EXPERTS, bias=False)
        self.experts = Experts()

    def feed_forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, -2)
        scores, chosen = self.router(rows).topk(_ACTIVE)
        order = chosen.flatten().argsort()
        tokens = order // _ACTIVE
        numbers = torch.arange(_EXPERTS, device=x.device)
        ends = (chosen.flatten()[:, None] == numbers).sum(0).cumsum(0).int()
        given = rows[tokens].to(scores.dtype)  # autocast does not cast grouped products
        weighted = self.experts(given, ends) * scores.softmax(-1).flatten()[order, None]
        return torch.zeros_like(rows).index_add(0, tokens, weighted.to(rows.dtype)).view_as(x)


def mixtral_8x7b(num_classes: int = 32_000) -> Llama:
    """Mixtral 8x7B."""
    return Llama(num_classes, _WIDTH, _HEADS, 1_000_000, (Block() for _ in range(_BLOCKS)))
