"""Residual networks for ImageNet and CIFAR.

Sources
-------
He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016 (arXiv 1512.03385).
Zagoruyko, Komodakis, "Wide Residual Networks", BMVC 2016 (arXiv 1605.07146), for the ImageNet WRN-50-2.

The ImageNet networks are torchvision's: a bottleneck strides in its 3×3 convolution ("v1.5"), and the wide one
doubles the inner width only. The CIFAR networks keep the four stages and have a 3×3 stem without pooling, as in the
sparse-training literature for 32×32 images.
"""

from __future__ import annotations

from torch import Tensor, nn


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    """A projection where the shapes differ, otherwise nothing (the identity)."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
        nn.BatchNorm2d(out_channels),
    )


class BasicBlock(nn.Module):
    """Two 3×3 convolutions; the first one strides."""

    expansion = 1

    def __init__(self, in_channels: int, planes: int, stride: int = 1, width_factor: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, planes, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, planes, stride)

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += identity
        return self.relu(out)


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions; the 3×3 one strides and takes the extra width."""

    expansion = 4

    def __init__(self, in_channels: int, planes: int, stride: int = 1, width_factor: int = 1) -> None:
        super().__init__()
        width = planes * width_factor
        out_channels = planes * self.expansion
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    """A stem, four stages of residual blocks, global average pooling and a linear classifier."""

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: tuple[int, int, int, int],
        stem: list[nn.Module],
        num_classes: int,
        width_factor: int = 1,
    ) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu, self.maxpool = stem
        channels = 64
        for stage, depth in enumerate(depths):
            planes = 64 * 2**stage
            blocks = []
            for position in range(depth):
                stride = 2 if stage > 0 and position == 0 else 1
                blocks.append(block(channels, planes, stride, width_factor))
                channels = planes * block.expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in ("layer1", "layer2", "layer3", "layer4"):
            x = self.get_submodule(stage)(x)
        return self.fc(self.avgpool(x).flatten(1))


def _imagenet_stem() -> list[nn.Module]:
    return [
        nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2, padding=1),
    ]


def _cifar_stem() -> list[nn.Module]:
    return [
        nn.Conv2d(3, 64, 3, padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        nn.Identity(),
    ]


def resnet18(num_classes: int = 1000) -> ResNet:
    """ResNet-18 for ImageNet."""
    return ResNet(BasicBlock, (2, 2, 2, 2), _imagenet_stem(), num_classes)


def resnet50(num_classes: int = 1000) -> ResNet:
    """ResNet-50 (v1.5) for ImageNet."""
    return ResNet(Bottleneck, (3, 4, 6, 3), _imagenet_stem(), num_classes)


def resnet101(num_classes: int = 1000) -> ResNet:
    """ResNet-101 (v1.5) for ImageNet."""
    return ResNet(Bottleneck, (3, 4, 23, 3), _imagenet_stem(), num_classes)


def wide_resnet50_2(num_classes: int = 1000) -> ResNet:
    """WRN-50-2 for ImageNet: ResNet-50 with inner widths doubled."""
    return ResNet(Bottleneck, (3, 4, 6, 3), _imagenet_stem(), num_classes, width_factor=2)


def cifar_resnet18(num_classes: int = 10) -> ResNet:
    """ResNet-18 for 32×32 images."""
    return ResNet(BasicBlock, (2, 2, 2, 2), _cifar_stem(), num_classes)


def cifar_resnet50(num_classes: int = 10) -> ResNet:
    """ResNet-50 for 32×32 images."""
    return ResNet(Bottleneck, (3, 4, 6, 3), _cifar_stem(), num_classes)


def cifar_resnet101(num_classes: int = 10) -> ResNet:
    """ResNet-101 for 32×32 images."""
    return ResNet(Bottleneck, (3, 4, 23, 3), _cifar_stem(), num_classes)
