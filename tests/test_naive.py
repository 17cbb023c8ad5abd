"""The naive view against masked training that really runs: what autograd saves for it, byte for byte."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import grad as gradients

import swatcost
from swatcost.planning import memory_of

from .test_memory import saved_bytes


class Masked(torch.autograd.Function):
    """A convolution as public code of SWAT has it: masked dense tensors are saved for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        sparse = w * (w.abs() >= w.abs().median())
        ctx.save_for_backward(x * (x.abs() >= x.abs().median()), sparse)
        return nn.functional.conv2d(x, sparse)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        x, w = ctx.saved_tensors
        return gradients.conv2d_input(x.shape, w, grads[0]), gradients.conv2d_weight(x, w.shape, grads[0])


class MaskedConv(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return Masked.apply(x, self.weight)  # type: ignore[no-any-return]


def network(conv: type[nn.Conv2d]) -> nn.Module:
    return nn.Sequential(
        conv(3, 8, 3, bias=False), nn.ReLU(), conv(8, 8, 3, bias=False), nn.MaxPool2d(2), conv(8, 4, 3, bias=False)
    )


def test_masked_dense_tensors_keep_what_the_naive_view_says() -> None:
    traced = swatcost.trace(network(nn.Conv2d), input_shape=(3, 16, 16))
    memory = memory_of(traced, weights=0.5, acts=0.5, first_layer="sparse", batch_size=4).memory
    real = saved_bytes(network(MaskedConv), torch.randn(4, 3, 16, 16))
    assert memory.naive - memory.dense.loss == real
