"""GPT-2, the smallest and the largest of four (124 and 1,558 million parameters).

Source
------
Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, Section 2.3, Table 2 and the released code:
12 blocks of width 768 or 48 of width 1600, heads of 64 features, normalisation before attention and MLP and once more
after the last block, learned positions, a context of 1024 tokens, a vocabulary of 50,257 (Table 2 calls the networks
117M and 1542M), and an output layer whose weight is the embedding of the tokens. Dropout is left out: it costs no
multiplications.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from swatcost_models import GPT2_CONTEXT
from torch import Tensor, nn

_FEATURES = 64  # of a head


class Block(nn.Module):
    def __init__(self, width: int, bias: bool) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width, bias=bias)
        self.qkv = nn.Linear(width, 3 * width, bias)
        self.proj = nn.Linear(width, width, bias)
        self.ln_2 = nn.LayerNorm(width, bias=bias)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width, bias), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width, bias)
        )

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.ln_1(x)).unflatten(-1, (3, -1, _FEATURES)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(mixed.transpose(1, 2).flatten(2))
        return x + self.mlp(self.ln_2(x))


class GPT2(nn.Module):
    """Tokens (batch, positions) → scores of the next token (batch, positions, vocabulary).

    Raises ValueError for more positions than it has embeddings for.
    """

    def __init__(self, vocabulary: int, width: int, blocks: int, bias: bool) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(GPT2_CONTEXT, width)
        self.blocks = nn.Sequential(*(Block(width, bias) for _ in range(blocks)))
        self.ln = nn.LayerNorm(width, bias=bias)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: Tensor) -> Tensor:
        if tokens.shape[1] > GPT2_CONTEXT:  # on the meta device, looking up rows does not find out
            raise ValueError(
                f"{tokens.shape[1]:,} tokens: it has {GPT2_CONTEXT:,} learned positions; give fewer tokens"
            )
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        return self.head(self.ln(self.blocks(x)))


def gpt2(num_classes: int = 50_257, bias: bool = True) -> GPT2:
    """GPT-2 124M; `bias` gives linear layers and norms one, as the released network has (nanoGPT trains without)."""
    return GPT2(num_classes, width=768, blocks=12, bias=bias)


def gpt2_xl(num_classes: int = 50_257) -> GPT2:
    """GPT-2 1558M."""
    return GPT2(num_classes, width=1600, blocks=48, bias=True)
