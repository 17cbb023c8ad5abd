"""Layers between sparse ones on images that lie batch-last, against torch's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

pytest.importorskip("numba")

from swatcost.reference.batch_last import (
    BatchLastAdaptiveAvgPool,
    BatchLastAvgPool,
    BatchLastMaxPool,
    BatchLastNorm,
    is_batch_last,
)

from .test_kernel_steps import close, converted, convolutions

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("replacement", [
    BatchLastNorm(8), BatchLastMaxPool(2), BatchLastMaxPool(3, stride=2, padding=1), BatchLastAvgPool(2),
    BatchLastAdaptiveAvgPool(2),
], ids=repr)  # fmt: skip
def test_replacements_keep_images_batch_last(replacement: nn.Module) -> None:
    x = torch.randn(8, 8, 8, 16).permute(3, 2, 0, 1).requires_grad_()
    found = replacement(x)
    (gradient,) = torch.autograd.grad(found, x, torch.randn(found.permute(2, 3, 1, 0).shape).permute(3, 2, 0, 1))
    assert is_batch_last(x)
    assert is_batch_last(found)
    assert is_batch_last(gradient)


def test_rows_stay_batch_last_from_layer_to_layer() -> None:
    """`view` copies for a network's own code, not for the layers themselves."""
    module = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
    x, strides = torch.randn(16, 8, requires_grad=True), []
    with converted(module, x, "sparse"):
        for layer in module[:4]:
            layer.register_forward_hook(lambda layer, given, found: strides.append(found.stride()))
            layer.register_full_backward_hook(lambda layer, found, given: strides.append(given[0].stride()))
        module(x).sum().backward()
    assert set(strides) == {(1, 16)}
    assert len(strides) == 8


@pytest.mark.parametrize("samples", [1, 5, 16])
def test_norms_of_samples_that_lie_last_are_torch_s(samples: int) -> None:
    x, grad = torch.randn(6, 5, 3, samples).permute(3, 2, 0, 1), torch.randn(samples, 3, 6, 5)
    found = []
    for kind in (nn.BatchNorm2d, BatchLastNorm):
        given = x.detach().requires_grad_()
        output = kind(3)(given)
        found.append((output.detach(), *torch.autograd.grad(output, given, grad)))
    for mine, its in zip(*found, strict=True):
        close(mine, its)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_norms_of_other_numbers_are_torch_s(dtype: torch.dtype) -> None:
    found = []
    for kind in (nn.BatchNorm2d, BatchLastNorm):
        torch.manual_seed(0)
        x = torch.randn(4, 5, 3, 16).to(dtype).permute(3, 2, 0, 1).requires_grad_()
        norm = kind(3).to(dtype)
        norm(x).contiguous().sin().sum().backward()
        found.append((x.grad, norm.weight.grad))
    torch.testing.assert_close(found[1], found[0], rtol=1e-12, atol=1e-12)


def test_channels_that_a_norm_does_not_have_are_torch_s_error() -> None:
    with pytest.raises(RuntimeError, match="running_mean should contain 640 elements"):
        BatchLastNorm(16)(torch.randn(2, 2, 640, 16).permute(3, 2, 0, 1))


@pytest.mark.parametrize("kernels", ["dense", "sparse"])
def test_statistics_that_changed_before_they_are_read_again_are_refused(kernels: Any) -> None:
    module = convolutions(nn.BatchNorm2d(8)).eval()
    with converted(module, torch.randn(16, 4, 9, 9), kernels):
        loss = module(torch.randn(16, 4, 9, 9)).sum()
        norm = next(each for each in module if isinstance(each, nn.BatchNorm2d))
        assert norm.running_var is not None
        norm.running_var.mul_(9)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()
