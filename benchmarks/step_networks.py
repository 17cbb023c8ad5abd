"""Networks whose training steps are timed: those of the zoo, and small ones of other families, which the zoo lacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from swatcost_models import ZOO
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Timed:
    """A network, the shape of a sample, the batch sizes, and how many tokens its vocabulary has, if it takes tokens."""

    build: Callable[[], nn.Module]
    input_shape: tuple[int, ...]
    batches: tuple[int, ...]
    vocabulary: int | None = None

    def inputs(self, batch_size: int) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        if self.vocabulary is not None:
            return torch.randint(0, self.vocabulary, (batch_size, *self.input_shape), generator=generator)
        return torch.randn(batch_size, *self.input_shape, generator=generator)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.inward, self.outward = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        parts = self.inward(x).view(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        return self.outward(mixed.transpose(1, 2).reshape(batch, tokens, width))  # type: ignore[no-any-return]


class Block(nn.Module):
    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.LayerNorm(width), Attention(width, heads, causal))
        self.perceptron = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)
        return x + self.perceptron(x)  # type: ignore[no-any-return]


class VisionTransformer(nn.Module):
    """Patches of 16 × 16, width 384, 6 heads, 6 blocks: half of ViT-S/16."""

    def __init__(self, width: int = 384, heads: int = 6, blocks: int = 6) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 16, 16)
        self.places = nn.Parameter(torch.zeros(1, 196, width))
        self.blocks = nn.Sequential(*(Block(width, heads, causal=False) for _ in range(blocks)))
        self.classifier = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1000))

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.places
        return self.classifier(self.blocks(x).mean(1))  # type: ignore[no-any-return]


class LanguageModel(nn.Module):
    """A small GPT: width 256, 4 heads, 4 blocks, 8192 tokens."""

    def __init__(self, width: int = 256, heads: int = 4, blocks: int = 4, vocabulary: int = 8192) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(256, width)
        self.blocks = nn.Sequential(*(Block(width, heads, causal=True) for _ in range(blocks)))
        self.scores = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        places = self.places(torch.arange(x.shape[1], device=x.device))
        return self.scores(self.blocks(self.tokens(x) + places))  # type: ignore[no-any-return]


def mobile_network() -> nn.Module:
    """MobileNetV1 with three of its five equal blocks, and ReLU6."""

    def convolution(inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> list[nn.Module]:
        layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        return [layer, nn.BatchNorm2d(outputs), nn.ReLU6()]

    layers, inputs = convolution(3, 32, 3, 2), 32
    for outputs, stride in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1),
                            (1024, 2), (1024, 1)):  # fmt: skip
        layers += convolution(inputs, inputs, 3, stride, inputs) + convolution(inputs, outputs, 1, 1)
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1024, 1000))


class UNet(nn.Module):
    """Three levels with group normalisation and SiLU; the mean of its output is classified."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(self._level(*each) for each in ((3, 32), (32, 64), (64, 128)))
        self.up = nn.ModuleList([nn.ConvTranspose2d(128, 64, 2, 2), nn.ConvTranspose2d(64, 32, 2, 2)])
        self.joined = nn.ModuleList([self._level(128, 64), self._level(64, 32)])
        self.last = nn.Conv2d(32, 10, 1)

    @staticmethod
    def _level(inputs: int, outputs: int) -> nn.Module:
        layers: list[nn.Module] = []
        for each in (inputs, outputs):
            layers += [nn.Conv2d(each, outputs, 3, 1, 1), nn.GroupNorm(8, outputs), nn.SiLU()]
        return nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        first = self.down[0](x)
        second = self.down[1](functional.max_pool2d(first, 2))
        found = self.down[2](functional.max_pool2d(second, 2))
        for up, joined, beside in zip(self.up, self.joined, (second, first), strict=True):
            found = joined(torch.cat([up(found), beside], 1))
        return self.last(found).mean((2, 3))  # type: ignore[no-any-return]


def perceptron() -> nn.Module:
    """784 inputs, three hidden layers of 2048, ten classes."""
    sizes = (784, 2048, 2048, 2048)
    hidden: list[Any] = []
    for inputs, outputs in pairwise(sizes):
        hidden += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*hidden, nn.Linear(2048, 10))


def _of_zoo(name: str, *batches: int) -> Timed:
    return Timed(ZOO[name].build, tuple(ZOO[name].input_shape), batches)


NETWORKS: dict[str, Timed] = {
    "MLP": Timed(perceptron, (784,), (16, 128, 1024)),
    "ViT": Timed(VisionTransformer, (3, 224, 224), (1, 4, 16)),
    "GPT": Timed(LanguageModel, (256,), (1, 4, 16), vocabulary=8192),
    "MobileNet": Timed(mobile_network, (3, 224, 224), (2, 8, 32)),
    "U-Net": Timed(UNet, (3, 64, 64), (2, 8, 32)),
    "resnet18": _of_zoo("resnet18", 2, 8, 32),
    "cifar_resnet18": _of_zoo("cifar_resnet18", 4, 16, 64),
    "cifar_vgg16": _of_zoo("cifar_vgg16", 4, 16, 64),
    "cifar_densenet121": _of_zoo("cifar_densenet121", 2, 8, 32),
    "resnet50": _of_zoo("resnet50", 1, 4, 16),
    "densenet121": _of_zoo("densenet121", 2, 4, 8),
    "convnext_base": _of_zoo("convnext_base", 1, 2, 4),
    "wide_resnet50_2": _of_zoo("wide_resnet50_2", 1, 4, 8),
    "cifar_wrn_16_8": _of_zoo("cifar_wrn_16_8", 2, 8, 32),
}
"""By name; none of them is measured by `swatcost calibrate`."""
