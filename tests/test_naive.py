"""Masked dense tensors against masked training that really runs: what autograd saves for it, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import grad as gradients

import swatcost
from swatcost.planning import memory_of

from .test_memory import saved_bytes


class Masked(torch.autograd.Function):
    """A convolution as public code of SWAT has it: masked dense tensors are saved for the backward pass.

    The input is saved if the weight needs a gradient.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        sparse = w * (w.abs() >= w.abs().median())
        ctx.save_for_backward(x * (x.abs() >= x.abs().median()) if ctx.needs_input_grad[1] else None, sparse)
        return nn.functional.conv2d(x, sparse)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        x, w = ctx.saved_tensors
        return gradients.conv2d_input(x.shape, w, grads[0]), gradients.conv2d_weight(x, w.shape, grads[0])


class MaskedConv(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return Masked.apply(x, self.weight)  # type: ignore[no-any-return]


class Fork(nn.Module):
    """Two convolutions that read one tensor; the second of them is frozen."""

    def __init__(self, conv: type[nn.Conv2d]) -> None:
        super().__init__()
        self.stem, self.trained, self.frozen = (conv(channels, 8, 3, bias=False) for channels in (3, 8, 8))
        self.frozen.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        return self.trained(x) + self.frozen(x)  # type: ignore[no-any-return]


def network(conv: type[nn.Conv2d]) -> nn.Module:
    return nn.Sequential(
        conv(3, 8, 3, bias=False), nn.ReLU(), conv(8, 8, 3, bias=False), nn.MaxPool2d(2), conv(8, 4, 3, bias=False)
    )


@pytest.mark.parametrize("build", [network, Fork])
def test_masked_training_keeps_what_both_accounts_say(build: Callable[[type[nn.Conv2d]], nn.Module]) -> None:
    traced = swatcost.trace(build(nn.Conv2d), input_shape=(3, 16, 16))
    report = memory_of(traced, weights=0.5, acts=0.5, first_layer="sparse", batch_size=4)
    memory = report.memory
    real = saved_bytes(build(MaskedConv), torch.randn(4, 3, 16, 16))
    assert memory.naive - memory.dense.loss == real
    assert report.estimate.memory.masked == real - memory.naive_weights.saved_copies
