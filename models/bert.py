"""BERT-base, with the two heads that it is pre-trained with.

Source
------
Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", NAACL 2019 (arXiv
1810.04805), Section 3 and Appendix A, and the released code: 12 blocks of width 768 with 12 heads, normalisation after
attention and MLP, learned positions for a context of 512 tokens, two segments, and a vocabulary of 30,522 (uncased).
The heads are a scorer of masked tokens, whose output layer has the embedding of the tokens as its weight, and one that
tells from the first token whether the second sentence follows the first. Dropout is left out: it costs no
multiplications.

The released code scores masked tokens only (15 % of them); here, as in the ports to PyTorch, every token is scored.
Segments, a second input of the released network, are all the first one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from swatcost_models import BERT_CONTEXT
from torch import Tensor, nn

_WIDTH, _HEADS, _BLOCKS = 768, 12, 12


def _norm() -> nn.LayerNorm:
    return nn.LayerNorm(_WIDTH, eps=1e-12)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(_WIDTH, _WIDTH) for _ in range(4))
        self.ln_1, self.ln_2 = _norm(), _norm()
        self.mlp = nn.Sequential(nn.Linear(_WIDTH, 4 * _WIDTH), nn.GELU(), nn.Linear(4 * _WIDTH, _WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (each(x).unflatten(-1, (_HEADS, -1)).transpose(1, 2) for each in (self.q, self.k, self.v))
        mixed = F.scaled_dot_product_attention(q, k, v)
        x = self.ln_1(x + self.o(mixed.transpose(1, 2).flatten(2)))
        return self.ln_2(x + self.mlp(x))


class BERT(nn.Module):
    """Tokens (batch, positions) → scores of tokens (batch, positions, vocabulary) and of the next sentence (batch, 2).

    Raises ValueError for more positions than it has embeddings for.
    """

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, _WIDTH)
        self.positions = nn.Embedding(BERT_CONTEXT, _WIDTH)
        self.segments = nn.Embedding(2, _WIDTH)
        self.ln = _norm()
        self.blocks = nn.Sequential(*(Block() for _ in range(_BLOCKS)))
        self.pooler = nn.Linear(_WIDTH, _WIDTH)
        self.next_sentence = nn.Linear(_WIDTH, 2)
        self.transform = nn.Sequential(nn.Linear(_WIDTH, _WIDTH), nn.GELU(), _norm())
        self.head = nn.Linear(_WIDTH, vocabulary)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        if tokens.shape[1] > BERT_CONTEXT:  # on the meta device, looking up rows does not find out
            raise ValueError(
                f"{tokens.shape[1]:,} tokens: it has {BERT_CONTEXT:,} learned positions; give fewer tokens"
            )
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.tokens(tokens) + self.positions(positions) + self.segments(torch.zeros_like(tokens))
        x = self.blocks(self.ln(x))
        follows = self.next_sentence(self.pooler(x[:, 0]).tanh())
        return self.head(self.transform(x)), follows


def bert_base(num_classes: int = 30_522) -> BERT:
    """BERT-base, uncased, in pre-training."""
    return BERT(num_classes)
