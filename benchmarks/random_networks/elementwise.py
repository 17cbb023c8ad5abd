"""What multiplies no tensors: norms, activations, pooling, views, changes in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.random_networks.parts import Draw, Shape, does, part


@part()
def norm(draw: Draw, x: Shape) -> nn.Module | None:
    kinds: list[Callable[[], nn.Module]] = [lambda: nn.LayerNorm(x[-1]), lambda: nn.RMSNorm(x[-1])]
    kinds += [lambda: nn.GroupNorm(draw.divisor(x[1]), x[1])] if len(x) > 2 else [lambda: nn.BatchNorm1d(x[1])]
    if len(x) > 2:
        kinds += [lambda: (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[len(x) - 3](x[1])] * 2
        kinds += [lambda: (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)[len(x) - 3](x[1], affine=True)]
    return draw.choice(kinds)()


@part()
def activation(draw: Draw, x: Shape) -> nn.Module:
    kinds: list[Callable[[], nn.Module]] = [
        nn.ReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, lambda: nn.Softmax(-1), lambda: nn.Dropout(0.5), nn.PReLU,
        lambda: nn.LogSoftmax(-1), nn.Hardswish, nn.Mish, lambda: nn.GLU(-1), nn.Identity,
    ]  # fmt: skip
    return draw.choice(kinds)()


@part(ranks=(3, 5))
def pooling(draw: Draw, x: Shape) -> nn.Module:
    place = len(x) - 3
    kinds: list[Callable[[], nn.Module]] = [
        lambda: (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)[place](2, 1),
        lambda: (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)[place](2),
        lambda: (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[place](1),
        lambda: nn.Upsample(scale_factor=2),
    ]
    return draw.choice(kinds)()


@part()
def view(draw: Draw, x: Shape) -> nn.Module:
    forms: list[Callable[[Any, Tensor], Tensor]] = [
        lambda self, x: x.flatten(1),
        lambda self, x: x.transpose(1, -1),
        lambda self, x: x.unsqueeze(1),
        lambda self, x: x[:, :1],
        lambda self, x: x.flip(1),
        lambda self, x: torch.cat(x.chunk(2, -1), 1),
        lambda self, x: x.mean(1),
        lambda self, x: x.reshape(x.shape[0], -1, x.shape[1]),
        lambda self, x: x.movedim(-1, 1).contiguous(),
        lambda self, x: x.repeat_interleave(2, 1),
        lambda self, x: torch.stack(x.unbind(1), -1),
        lambda self, x: x.as_strided((x.shape[0], x.numel() // x.shape[0]), (x.numel() // x.shape[0], 1)),
    ]
    return does(draw.choice(forms))


@part()
def works_in_place_(draw: Draw, x: Shape) -> nn.Module:
    def assigned(self: Any, x: Tensor) -> Tensor:
        y = x.clone()
        y[:, :1] = y[:, -1:] * 2
        return y

    forms: list[Callable[[Any, Tensor], Tensor]] = [
        lambda self, x: F.relu(x, inplace=True),
        lambda self, x: x.add_(1),
        lambda self, x: x.mul_(0.5),
        lambda self, x: x.clone().sigmoid_(),
        lambda self, x: (x * 2).masked_fill_(x > 0, 0),
        assigned,
    ]
    return does(draw.choice(forms))


@part(inputs=2)
def joined(draw: Draw, x: Shape, y: Shape) -> nn.Module | None:
    if x == y:
        return does(
            draw.choice([lambda self, x, y: x + y, lambda self, x, y: x * y, lambda self, x, y: x - y.detach()])
        )
    if len(x) == len(y) and x[:1] + x[2:] == y[:1] + y[2:]:
        return does(lambda self, x, y: torch.cat([x, y], 1))
    return None


@part(ranks=(2, 3))
def embedding(draw: Draw, x: Shape) -> nn.Module:
    """Takes indices; the table may be the head as well."""
    table = nn.Embedding(draw.integer(2, 9), draw.width())
    if draw.chance(0.3):
        return does(lambda self, x: self.table(x) @ self.table.weight.t(), table=table)
    return table


class _Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0] * 2


@part()
def own_gradient(draw: Draw, x: Shape) -> nn.Module:
    return does(lambda self, x: _Doubled.apply(x))
