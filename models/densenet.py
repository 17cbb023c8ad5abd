"""DenseNet-121 (BC), for ImageNet and CIFAR.

Source
------
Huang, Liu, van der Maaten, Weinberger, "Densely Connected Convolutional Networks", CVPR 2017
(arXiv 1608.06993). Growth rate 32, blocks of 6, 12, 24 and 16 layers, bottlenecks of four growth rates,
transitions that halve the channels.

The ImageNet network is torchvision's. The CIFAR network has a 3×3 stem of two growth rates without batch
normalisation or pooling.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_GROWTH = 32
_BOTTLENECK = 4 * _GROWTH
_DEPTHS = (6, 12, 24, 16)


class DenseLayer(nn.Module):
    """BN, ReLU, 1×1 convolution, BN, ReLU, 3×3 convolution, on the concatenation of all features before it."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(in_channels, _BOTTLENECK, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(_BOTTLENECK)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(_BOTTLENECK, _GROWTH, 3, padding=1, bias=False)

    def forward(self, features: list[Tensor]) -> Tensor:
        x = torch.cat(features, 1)
        x = self.conv1(self.relu1(self.norm1(x)))
        return self.conv2(self.relu2(self.norm2(x)))


class DenseBlock(nn.Module):
    """Layers that each see the concatenated outputs of all layers before them."""

    def __init__(self, depth: int, in_channels: int) -> None:
        super().__init__()
        for position in range(depth):
            self.add_module(f"denselayer{position + 1}", DenseLayer(in_channels + position * _GROWTH))

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for layer in self.children():
            features.append(layer(features))
        return torch.cat(features, 1)


class Transition(nn.Sequential):
    """BN, ReLU, a 1×1 convolution that halves the channels, and 2×2 average pooling."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(in_channels, in_channels // 2, 1, bias=False)
        self.pool = nn.AvgPool2d(2)


class DenseNet121(nn.Module):
    """A stem, four dense blocks with transitions between them, and a linear classifier."""

    def __init__(self, stem: nn.Sequential, num_classes: int) -> None:
        super().__init__()
        self.stem = stem
        channels = 2 * _GROWTH
        for number, depth in enumerate(_DEPTHS, start=1):
            self.add_module(f"denseblock{number}", DenseBlock(depth, channels))
            channels += depth * _GROWTH
            if number < len(_DEPTHS):
                self.add_module(f"transition{number}", Transition(channels))
                channels //= 2
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.children():
            x = part(x.flatten(1) if part is self.classifier else x)
        return x


def densenet121(num_classes: int = 1000) -> DenseNet121:
    """DenseNet-121 for ImageNet."""
    stem = nn.Sequential(
        nn.Conv2d(3, 2 * _GROWTH, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(2 * _GROWTH),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2, padding=1),
    )
    return DenseNet121(stem, num_classes)


def cifar_densenet121(num_classes: int = 10) -> DenseNet121:
    """DenseNet-121 for 32×32 images."""
    stem = nn.Sequential(nn.Conv2d(3, 2 * _GROWTH, 3, padding=1, bias=False))
    return DenseNet121(stem, num_classes)
