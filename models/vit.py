"""Vision Transformers, ViT-B/16 and ViT-S/16, for ImageNet.

Source
------
Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021 (arXiv 2010.11929), Table 1, as in torchvision's
vit_b_16: normalisation before attention and MLP, a class token, learned position embeddings, no dropout. ViT-S/16 is
half as wide, with heads of the same size: Touvron et al., "Training data-efficient image transformers", ICML 2021
(arXiv 2012.12877), Table 1 (DeiT-S); Steiner et al., "How to train your ViT?", TMLR 2022 (arXiv 2106.10270).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_PATCH = 16  # pixels per side
_POSITIONS = (224 // _PATCH) ** 2 + 1  # patches, and the class token
_FEATURES, _BLOCKS = 64, 12  # features of a head


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = nn.MultiheadAttention(width, width // _FEATURES, batch_first=True)
        self.ln_2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.ln_1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class ViT(nn.Module):
    """Patches of 16 × 16 pixels, 12 blocks, and a head on the class token."""

    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__()
        self.conv_proj = nn.Conv2d(3, width, _PATCH, stride=_PATCH)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embedding = nn.Parameter(torch.zeros(1, _POSITIONS, width))
        self.blocks = nn.Sequential(*(Block(width) for _ in range(_BLOCKS)))
        self.ln = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], dim=1)
        return self.head(self.ln(self.blocks(x + self.pos_embedding))[:, 0])


def vit_b_16(num_classes: int = 1000) -> ViT:
    """ViT-B/16 for 224×224 images (torchvision's vit_b_16)."""
    return ViT(num_classes, width=768)


def vit_s_16(num_classes: int = 1000) -> ViT:
    """ViT-S/16 for 224×224 images, which is DeiT-S without its distillation."""
    return ViT(num_classes, width=384)
