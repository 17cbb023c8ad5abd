"""GPT-2, the smallest of four (124 million parameters).

Source
------
Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, Section 2.3 and the released code: 12
blocks of width 768 with 12 heads, normalisation before attention and MLP and once more after the last block, learned
positions, a context of 1024 tokens, a vocabulary of 50,257 (Table 2 calls the network 117M), and an output layer whose
weight is the embedding of the tokens. Dropout is left out: it costs no multiplications.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_CONTEXT, _WIDTH, _HEADS, _BLOCKS = 1024, 768, 12, 12


class Block(nn.Module):
    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(_WIDTH, bias=bias)
        self.qkv = nn.Linear(_WIDTH, 3 * _WIDTH, bias)
        self.proj = nn.Linear(_WIDTH, _WIDTH, bias)
        self.ln_2 = nn.LayerNorm(_WIDTH, bias=bias)
        self.mlp = nn.Sequential(
            nn.Linear(_WIDTH, 4 * _WIDTH, bias), nn.GELU(approximate="tanh"), nn.Linear(4 * _WIDTH, _WIDTH, bias)
        )

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.ln_1(x)).unflatten(-1, (3, _HEADS, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(mixed.transpose(1, 2).flatten(2))
        return x + self.mlp(self.ln_2(x))


class GPT2(nn.Module):
    """Tokens (batch, positions) → scores of the next token (batch, positions, vocabulary)."""

    def __init__(self, vocabulary: int, bias: bool) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, _WIDTH)
        self.positions = nn.Embedding(_CONTEXT, _WIDTH)
        self.blocks = nn.Sequential(*(Block(bias) for _ in range(_BLOCKS)))
        self.ln = nn.LayerNorm(_WIDTH, bias=bias)
        self.head = nn.Linear(_WIDTH, vocabulary, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        return self.head(self.ln(self.blocks(x)))


def gpt2(num_classes: int = 50_257, bias: bool = True) -> GPT2:
    """GPT-2 124M; `bias` gives linear layers and norms one, as the released network has (nanoGPT trains without)."""
    return GPT2(num_classes, bias)
