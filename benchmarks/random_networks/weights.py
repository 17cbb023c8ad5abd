"""Layers and products with weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from benchmarks.random_networks.parts import Draw, Shape, does, part, weight


@part()
def linear(draw: Draw, x: Shape) -> nn.Module:
    return nn.Linear(x[-1], draw.width(), bias=draw.chance(0.5))


@part()
def functional_linear(draw: Draw, x: Shape) -> nn.Module:
    bias = {"b": weight(wide)} if (wide := draw.width()) and draw.chance(0.5) else {}
    return does(lambda self, x: F.linear(x, self.w, getattr(self, "b", None)), w=weight(wide, x[-1]), **bias)


@part()
def product_with_weight(draw: Draw, x: Shape) -> nn.Module:
    forms: list[Callable[[Any, Tensor], Tensor]] = [
        lambda self, x: x @ self.w,
        lambda self, x: torch.matmul(x, self.w),
        lambda self, x: torch.tensordot(x, self.w, 1),
        lambda self, x: torch.inner(x, self.w.t()),
        lambda self, x: torch.einsum("...d,df->...f", x, self.w),
        lambda self, x: (self.w.t() @ x.transpose(-1, -2)).transpose(-1, -2),
        lambda self, x: torch.vmap(lambda row: row @ self.w)(x.unsqueeze(1)).squeeze(1),
    ]
    return does(draw.choice(forms), w=weight(x[-1], draw.width()))


@part(ranks=(3, 5))
def weight_on_the_left(draw: Draw, x: Shape) -> nn.Module:
    return does(lambda self, x: self.w @ x, w=weight(draw.width(), x[-2]))


@part(ranks=(3, 3))
def weights_by_place(draw: Draw, x: Shape) -> nn.Module:
    """Another weight for each place of a sequence, or for each group of features."""
    form = draw.choice(["btd,tdf->btf", "btd,dhk->bthk", "btd,tdf->bft"])
    if form == "btd,dhk->bthk":
        return does(lambda self, x: torch.einsum(form, x, self.w).flatten(2), w=weight(x[2], 2, draw.width()))
    return does(lambda self, x: torch.einsum(form, x, self.w), w=weight(x[1], x[2], draw.width()))


@part(ranks=(3, 3))
def batched_product(draw: Draw, x: Shape) -> nn.Module:
    if draw.chance(0.5):
        return does(lambda self, x: torch.bmm(x, self.w.expand(x.shape[0], -1, -1)), w=weight(x[2], draw.width()))
    wide = draw.width()
    form: Any = lambda self, x: torch.baddbmm(self.b, x, self.w.expand(x.shape[0], -1, -1))  # noqa: E731
    return does(form, w=weight(x[2], wide), b=weight(wide))


@part(ranks=(2, 2))
def addmm(draw: Draw, x: Shape) -> nn.Module:
    wide = draw.width()
    return does(lambda self, x: torch.addmm(self.b, x, self.w), w=weight(x[1], wide), b=weight(wide))


@part()
def made_weight(draw: Draw, x: Shape) -> nn.Module:
    """A weight made of others, without a product: scaled, added, cut out, stacked, masked."""
    wide = draw.width()
    forms: list[Callable[[Any], Tensor]] = [
        lambda self: self.w + self.v,
        lambda self: self.w * self.v,
        lambda self: torch.cat([self.w, self.v], 0)[:wide],
        lambda self: self.w.abs().clamp(max=1),
        lambda self: (self.w - self.w.mean(1, keepdim=True)) / 2,
        lambda self: torch.where(self.v > 0, self.w, 0),
        lambda self: self.w.t().contiguous().t(),
    ]
    made = draw.choice(forms)
    return does(lambda self, x: F.linear(x, made(self)), w=weight(wide, x[-1]), v=weight(wide, x[-1]))


@part()
def parametrized(draw: Draw, x: Shape) -> nn.Module:
    layer = nn.Linear(x[-1], draw.width())
    if draw.chance(0.5):
        return prune.custom_from_mask(layer, "weight", torch.ones_like(layer.weight))
    return parametrizations.weight_norm(layer)


@part()
def low_rank(draw: Draw, x: Shape) -> nn.Module:
    rank = draw.integer(1, 3)
    a, b = weight(x[-1], rank), weight(rank, draw.width())
    return does(lambda self, x: (x @ self.a) @ self.b, a=a, b=b)


# Convolutions


def _convolution(draw: Draw, x: Shape) -> dict[str, Any]:
    spatial, groups = len(x) - 2, draw.divisor(x[1])
    kernel = draw.each(spatial, 1, 3)
    return {
        "in_channels": x[1],
        "out_channels": groups * draw.integer(1, 3),
        "kernel_size": kernel,
        "stride": draw.each(spatial, 1, 2),
        "dilation": draw.each(spatial, 1, 2),
        "padding": draw.each(spatial, 0, 2),
        "groups": groups,
        "bias": draw.chance(0.5),
    }


@part(ranks=(3, 5))
def convolution(draw: Draw, x: Shape) -> nn.Module:
    chosen = _convolution(draw, x)
    if draw.chance(0.2):
        chosen |= {"stride": 1, "padding": "same"}
    if draw.chance(0.2):
        chosen |= {"padding_mode": draw.choice(["circular", "replicate", "reflect"])}
    return (nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(x) - 3](**chosen)


@part(ranks=(3, 5))
def transposed_convolution(draw: Draw, x: Shape) -> nn.Module:
    chosen = _convolution(draw, x)
    chosen["output_padding"] = [draw.integer(0, max(0, s - 1)) for s in chosen["stride"]]
    return (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[len(x) - 3](**chosen)


@part(ranks=(3, 5))
def functional_convolution(draw: Draw, x: Shape) -> nn.Module:
    spatial = len(x) - 2
    function = (F.conv1d, F.conv2d, F.conv3d)[spatial - 1]
    stride, padding = draw.integer(1, 2), draw.integer(0, 1)
    made = weight(draw.width(), x[1], *draw.each(spatial, 1, 2))
    if draw.chance(0.3):  # of each filter only the first channels, repeated
        return does(lambda self, x: function(x, self.w[:, :1].expand_as(self.w), stride=stride), w=made)
    return does(lambda self, x: function(x, self.w, stride=stride, padding=padding), w=made)


@part(ranks=(4, 4))
def unfolded(draw: Draw, x: Shape) -> nn.Module:
    made = weight(draw.width(), x[1] * 4)
    return does(lambda self, x: self.w @ F.unfold(x, 2, padding=1), w=made)
