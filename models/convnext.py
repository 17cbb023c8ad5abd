"""ConvNeXt-B for ImageNet.

Source
------
Liu et al., "A ConvNet for the 2020s", CVPR 2022 (arXiv 2201.03545), as in torchvision's convnext_base, but without
stochastic depth, which drops whole blocks for a sample, scales the others and saves one number per sample.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_STAGES = ((128, 3), (256, 3), (512, 27), (1024, 3))  # channels and blocks
_LAYER_SCALE = 1e-6


class ChannelNorm(nn.LayerNorm):
    """Normalises the channels of each pixel."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """A depthwise 7×7 convolution and an MLP on the channels of each pixel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.layer_scale = nn.Parameter(torch.full((width, 1, 1), _LAYER_SCALE))

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(x).permute(0, 2, 3, 1)
        return x + self.layer_scale * self.mlp(self.norm(y)).permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """A stem, four stages with downsampling before all but the first, and a linear head."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        width = _STAGES[0][0]
        parts: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=4), ChannelNorm(width, eps=1e-6)]
        for channels, blocks in _STAGES:
            if channels != width:
                parts += [ChannelNorm(width, eps=1e-6), nn.Conv2d(width, channels, 2, stride=2)]
            parts += [Block(channels) for _ in range(blocks)]
            width = channels
        self.features = nn.Sequential(*parts)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.features(x).mean((2, 3))))


def convnext_base(num_classes: int = 1000) -> ConvNeXt:
    """ConvNeXt-B for 224×224 images (torchvision's convnext_base)."""
    return ConvNeXt(num_classes)
