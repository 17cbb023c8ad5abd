"""Wide residual networks for CIFAR.

Source
------
Zagoruyko, Komodakis, "Wide Residual Networks", BMVC 2016 (arXiv 1605.07146). WRN-d-k has (d − 4) / 6
pre-activation blocks in each of three groups of 16k, 32k and 64k channels. Where a group widens, both the
residual branch and the 1×1 shortcut take the activated input, as in the authors' code.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class WideBlock(nn.Module):
    """Pre-activation block of two 3×3 convolutions; the first one strides."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.dropout = nn.Dropout(dropout) if dropout > 0 else nn.Identity()
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        widens = stride != 1 or in_channels != out_channels
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False) if widens else None

    def forward(self, x: Tensor) -> Tensor:
        activated = F.relu(self.bn1(x), inplace=True)
        identity = x if self.shortcut is None else self.shortcut(activated)
        out = F.relu(self.bn2(self.conv1(activated)), inplace=True)
        return self.conv2(self.dropout(out)) + identity


class WideResNet(nn.Module):
    """WRN-depth-widen: a 3×3 stem, three groups of blocks, global average pooling and a classifier."""

    def __init__(self, depth: int, widen: int, num_classes: int, dropout: float = 0.0) -> None:
        if (depth - 4) % 6 != 0:
            raise ValueError(f"a wide residual network has depth 6n + 4, not {depth}")
        super().__init__()
        blocks_per_group = (depth - 4) // 6
        channels = 16
        self.conv1 = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        groups = []
        for group in range(3):
            width = 16 * widen * 2**group
            for position in range(blocks_per_group):
                stride = 2 if group > 0 and position == 0 else 1
                groups.append(WideBlock(channels, width, stride, dropout))
                channels = width
        self.blocks = nn.Sequential(*groups)
        self.bn = nn.BatchNorm2d(channels)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn(self.blocks(self.conv1(x))), inplace=True)
        return self.fc(self.avgpool(x).flatten(1))


def cifar_wrn_16_8(num_classes: int = 10) -> WideResNet:
    """WRN-16-8 for 32×32 images."""
    return WideResNet(depth=16, widen=8, num_classes=num_classes)


def cifar_wrn_28_10(num_classes: int = 10) -> WideResNet:
    """WRN-28-10 for 32×32 images, with a dropout of 0.3 as in SWAT (Table 13)."""
    return WideResNet(depth=28, widen=10, num_classes=num_classes, dropout=0.3)
