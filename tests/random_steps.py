"""Random small networks that hold their tensors in different ways, to compare the peak of a step."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .cases import Applied, weights

Build = Callable[[random.Random, int], tuple[nn.Module, int]]


def _activation(lots: random.Random) -> nn.Module:
    inplace = lots.random() < 0.5
    return lots.choice([
        nn.ReLU(inplace), nn.GELU(), nn.SiLU(), nn.Tanh(), nn.Sigmoid(), nn.LeakyReLU(0.1, inplace), nn.ELU(),
        nn.Hardswish(), nn.Softplus(), nn.Dropout(0.2), nn.Identity(),
    ])  # fmt: skip


def _vector_block(lots: random.Random, width: int) -> tuple[nn.Module, int]:
    """A block on (..., width), and the width of its result."""
    out = lots.choice([3, 8, 20, 50])
    linear = nn.Linear(width, out, bias=lots.random() < 0.7)
    blocks: list[Callable[[], nn.Module]] = [
        lambda: nn.Sequential(linear, _activation(lots)),
        lambda: nn.Sequential(linear, nn.LayerNorm(out), _activation(lots)),
        lambda: Applied(lambda self, x: F.linear(x, F.normalize(self.w)), {"w": weights(out, width)}),
        lambda: Applied(lambda self, x: x @ (self.a @ self.b), {"a": weights(width, 4), "b": weights(4, out)}),
        lambda: Applied(
            lambda self, x: self.a(x) * self.b(self.q).mean(0),
            {"a": linear, "b": nn.Linear(5, out), "q": weights(30, 5)},
        ),
        lambda: Applied(
            lambda self, x: torch.softmax(self.a(x) @ self.k.t(), -1) @ self.k, {"a": linear, "k": weights(9, out)}
        ),
        lambda: Applied(
            lambda self, x: checkpoint(self.a, x, use_reentrant=False), {"a": nn.Sequential(linear, nn.Tanh())}
        ),
        lambda: Applied(
            lambda self, x: self.a(x).chunk(2, -1)[0].sigmoid() * self.b(x),
            {"a": nn.Linear(width, 2 * out), "b": linear},
        ),
        lambda: Applied(
            lambda self, x: torch.cat([self.a(x), self.b(x.detach())], -1)[..., :out],
            {"a": linear, "b": nn.Linear(width, out)},
        ),
        lambda: Applied(lambda self, x: self.a(x).add_(1).mul(self.s), {"a": linear, "s": weights(out)}),
        lambda: nn.Sequential(linear.requires_grad_(lots.random() < 0.5), _activation(lots)),
    ]
    same: list[Callable[[], nn.Module]] = [
        lambda: Applied(lambda self, x: x + self.a(x).relu(), {"a": nn.Linear(width, width)}),
        lambda: Applied(lambda self, x: self.a(self.a(x).tanh()), {"a": nn.Linear(width, width)}),
        lambda: Applied(
            lambda self, x: x.unsqueeze(1).expand(-1, 3, *x.shape[1:]).mean(1) + self.a(x),
            {"a": nn.Linear(width, width)},
        ),
    ]
    chosen = lots.randrange(len(blocks) + len(same))
    return (blocks[chosen](), out) if chosen < len(blocks) else (same[chosen - len(blocks)](), width)


def _image_block(lots: random.Random, channels: int) -> tuple[nn.Module, int]:
    """A block on (N, channels, H, W) that keeps the image's size, and the channels of its result."""
    out = lots.choice([4, 8, 12])
    bias, groups = lots.random() < 0.5, lots.choice([1, 4]) if channels % 4 == 0 else 1
    conv = nn.Conv2d(channels, out, 3, padding=1, bias=bias, groups=groups)
    blocks: list[Callable[[], nn.Module]] = [
        lambda: nn.Sequential(conv, nn.BatchNorm2d(out), _activation(lots)),
        lambda: nn.Sequential(conv, nn.GroupNorm(2, out), _activation(lots)),
        lambda: nn.Sequential(conv, _activation(lots), nn.MaxPool2d(3, 1, 1)),
        lambda: nn.Sequential(nn.MaxPool2d(2), conv, nn.Upsample(scale_factor=2)),
        lambda: nn.Sequential(nn.AvgPool2d(2), nn.ConvTranspose2d(channels, out, 2, 2), _activation(lots)),
        lambda: Applied(_standardised, {"w": weights(out, channels, 3, 3), "gain": weights(out)}),
        lambda: Applied(
            lambda self, x: self.a(x) * self.s(x.mean((2, 3), keepdim=True)).sigmoid(),
            {"a": conv, "s": nn.Conv2d(channels, out, 1)},
        ),
        lambda: Applied(
            lambda self, x: checkpoint(self.a, x, use_reentrant=False),
            {"a": nn.Sequential(conv, nn.BatchNorm2d(out), nn.ReLU())},
        ),
        lambda: Applied(lambda self, x: torch.cat([x, self.a(x)], 1), {"a": conv}),
        lambda: Applied(lambda self, x: (x + self.a(x)).relu_(), {"a": nn.Conv2d(channels, channels, 1)}),
    ]
    chosen = lots.randrange(len(blocks))
    return blocks[chosen](), {8: channels + out, 9: channels}.get(chosen, out)


def _standardised(self: Any, x: Tensor) -> Tensor:
    """A convolution whose kernel is standardised as in NFNets."""
    flat = self.w.reshape(1, len(self.w), -1)
    kernel = F.batch_norm(flat, None, None, weight=self.gain, training=True, momentum=0.0).reshape(self.w.shape)
    return F.conv2d(x, kernel, padding=1)


class Trunk(nn.Module):
    """Blocks one after another; some results go on to a later place, and one or several heads."""

    def __init__(self, lots: random.Random, images: bool, width: int) -> None:
        super().__init__()
        self.images, block = images, _image_block if images else _vector_block
        self.blocks = nn.ModuleList()
        for _ in range(lots.randint(1, 5)):
            part, width = block(lots, width)
            self.blocks.append(part)
        self.heads = nn.ModuleList(nn.Linear(width, lots.choice([1, 10, 200])) for _ in range(lots.choice([1, 1, 2])))
        self.ends = lots.choice(["heads", "heads", "features", "view", "detached"])

    def forward(self, x: Tensor) -> Any:
        for block in self.blocks:
            x = block(x)
        x = x.mean((2, 3)) if self.images else x
        outputs = [head(x) for head in self.heads]
        extra = {"features": [x], "view": [outputs[0][:, :1]], "detached": [outputs[0].detach()]}
        return tuple(outputs + extra.get(self.ends, []))


def random_step(seed: int) -> tuple[Callable[[], nn.Module], tuple[int, ...], int]:
    """A function that builds the network, the shape of one sample, and a batch size."""
    lots = random.Random(seed)
    images = lots.random() < 0.5
    shape = (lots.choice([3, 4]), 8, 8) if images else lots.choice([(10,), (6, 10), (4, 3)])
    batch = lots.choice([1, 2, 7, 32, 100])
    width = shape[0] if images else shape[-1]
    again = lots.random()
    return lambda: Trunk(random.Random(again), images, width), shape, batch
