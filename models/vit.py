"""Vision Transformer, ViT-B/16, for ImageNet.

Source
------
Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021 (arXiv 2010.11929), Table 1, as in torchvision's
vit_b_16: normalisation before attention and MLP, a class token, learned position embeddings, no dropout.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_PATCH = 16  # pixels per side
_POSITIONS = (224 // _PATCH) ** 2 + 1  # patches, and the class token
_WIDTH, _HEADS, _MLP, _BLOCKS = 768, 12, 3072, 12


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(_WIDTH, eps=1e-6)
        self.attention = nn.MultiheadAttention(_WIDTH, _HEADS, batch_first=True)
        self.ln_2 = nn.LayerNorm(_WIDTH, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(_WIDTH, _MLP), nn.GELU(), nn.Linear(_MLP, _WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        y = self.ln_1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class ViT(nn.Module):
    """Patches of 16 × 16 pixels, 12 blocks, and a head on the class token."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv_proj = nn.Conv2d(3, _WIDTH, _PATCH, stride=_PATCH)
        self.class_token = nn.Parameter(torch.zeros(1, 1, _WIDTH))
        self.pos_embedding = nn.Parameter(torch.zeros(1, _POSITIONS, _WIDTH))
        self.blocks = nn.Sequential(*(Block() for _ in range(_BLOCKS)))
        self.ln = nn.LayerNorm(_WIDTH, eps=1e-6)
        self.head = nn.Linear(_WIDTH, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], dim=1)
        return self.head(self.ln(self.blocks(x + self.pos_embedding))[:, 0])


def vit_b_16(num_classes: int = 1000) -> ViT:
    """ViT-B/16 for 224×224 images (torchvision's vit_b_16)."""
    return ViT(num_classes)
