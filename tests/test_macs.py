"""The equations against multiplications enumerated one by one."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import swatcost
from swatcost.counting import equations as macs
from swatcost.counting.conventions import CONVENTIONS
from swatcost.methods import METHODS, LayerSparsity


@dataclass
class Enumerated:
    """The multiplications of a convolution and its gradients, and the tensors they give."""

    output: Tensor
    grad_input: Tensor
    grad_weight: Tensor
    forward: int = 0
    input_gradient: int = 0
    weight_gradient: int = 0


def enumerate_convolution(
    x: Tensor, w: Tensor, grad: Tensor, stride: list[int], padding: list[int], dilation: list[int], groups: int
) -> Enumerated:
    """Convolves by loops over every index, counting each multiplication; borders are padded with real zeros."""
    pads = [size for each in reversed(padding) for size in (each, each)]
    padded = F.pad(x, pads)
    found = Enumerated(torch.zeros_like(grad), torch.zeros_like(padded), torch.zeros_like(w))
    per_group = w.shape[0] // groups
    for n, f in itertools.product(range(x.shape[0]), range(w.shape[0])):
        first_channel = f // per_group * w.shape[1]
        for position in itertools.product(*map(range, grad.shape[2:])):
            for c in range(w.shape[1]):
                for tap in itertools.product(*map(range, w.shape[2:])):
                    source = [p * s + t * d for p, s, t, d in zip(position, stride, tap, dilation, strict=True)]
                    at_output, at_input = (n, f, *position), (n, first_channel + c, *source)
                    found.output[at_output] += padded[at_input] * w[(f, c, *tap)]
                    found.forward += 1
                    found.grad_input[at_input] += grad[at_output] * w[(f, c, *tap)]
                    found.input_gradient += 1
                    found.grad_weight[(f, c, *tap)] += grad[at_output] * padded[at_input]
                    found.weight_gradient += 1
    inside = tuple(slice(p, size - p) for p, size in zip(padding, padded.shape[2:], strict=True))
    found.grad_input = found.grad_input[(slice(None), slice(None), *inside)]
    return found


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[nn.Module, Tensor]:
    spatial = draw(st.integers(1, 3))
    groups = draw(st.integers(1, 3))
    sizes = st.integers(1, 2)
    channels, filters = groups * draw(sizes), groups * draw(sizes)
    kernel = [draw(st.integers(1, 3 if spatial < 3 else 2)) for _ in range(spatial)]
    stride, dilation = ([draw(sizes) for _ in range(spatial)] for _ in range(2))
    padding = [draw(st.integers(0, 2)) for _ in range(spatial)]
    least = [max(1, d * (k - 1) + 1 - 2 * p) for k, d, p in zip(kernel, dilation, padding, strict=True)]
    size = [draw(st.integers(low, low + 2)) for low in least]
    layer = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[spatial - 1](
        channels, filters, kernel, stride, padding, dilation, groups, bias=False, dtype=torch.float64
    )
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    x = torch.randn(draw(sizes), channels, *size, dtype=torch.float64, generator=generator)
    return layer, x.requires_grad_()


@settings(max_examples=40, deadline=None)
@given(convolutions())
def test_convolution_equals_enumeration(case: tuple[nn.Module, Tensor]) -> None:
    layer, x = case
    output = layer(x)
    grad = torch.randn_like(output)
    grad_input, grad_weight = torch.autograd.grad(output, (x, layer.weight), grad)
    found = enumerate_convolution(
        x.detach(), layer.weight.detach(), grad, layer.stride, layer.padding, layer.dilation, layer.groups
    )
    # The loops do convolve: what they count is what they compute.
    torch.testing.assert_close(found.output, output)
    torch.testing.assert_close(found.grad_input, grad_input)
    torch.testing.assert_close(found.grad_weight, grad_weight)

    network = swatcost.trace(nn.Sequential(layer), x)
    (traced,) = network.weight_layers
    costs = CONVENTIONS["exact"].count(traced, METHODS["dense"], LayerSparsity())
    assert costs.forward.dense == found.forward
    assert costs.grad_input.dense == found.input_gradient
    assert costs.grad_weight.dense == found.weight_gradient


@pytest.mark.parametrize(
    ("convention", "grad_input", "grad_weight"),
    [
        # C = 4, F = 6, groups 2 (2 channels a filter), 3 × 3, stride 2, 9 × 9 → 5 × 5
        ("swat", 2 * 6 * 9 * 81, 6 * 2 * 9 * 25),  # 8748 and 2700
        ("equations", 2 * 6 * 9 * 81, 6 * 2 * 9 * 81),
        ("exact", 2 * 6 * 9 * 25, 6 * 2 * 9 * 25),
    ],
)
def test_conventions_differ_in_resolution(convention: str, grad_input: int, grad_weight: int) -> None:
    layer = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, device="meta")
    x = torch.empty(1, 4, 9, 9, device="meta", requires_grad=True)
    (traced,) = swatcost.trace(layer, x).weight_layers
    costs = CONVENTIONS[convention].count(traced, METHODS["dense"], LayerSparsity())
    assert costs.forward.dense == 6 * 2 * 9 * 25
    assert costs.grad_input.dense == grad_input
    assert costs.grad_weight.dense == grad_weight


def test_linear_layer_is_the_case_of_one_position() -> None:
    # A.3.2: N · X · Y for each pass, here 7 rows from 5 to 3 features, 40 % of the weights left
    assert macs.conv_forward(N=7, F=3, C=5, R=1, S=1, H=1, W=1) == 7 * 5 * 3
    assert macs.conv_input_gradient(N=7, F=3, C=5, R=1, S=1, X=1, Y=1) == 7 * 5 * 3
    assert macs.conv_weight_gradient(N=7, F=3, C=5, R=1, S=1, X=1, Y=1) == 7 * 5 * 3
    assert macs.conv_forward(N=7, F=3, C=5, R=1, S=1, H=1, W=1, s1=0.4) == pytest.approx(0.4 * 105)


@pytest.mark.parametrize(
    ("method", "forward", "grad_input", "grad_weight"),
    [("dense", 1, 1, 1), ("saw", 1, 0.25, 0.5), ("swat", 0.25, 0.25, 0.5)],  # weights 75 %, activations 50 % zeros
)
def test_methods_reduce_their_passes(method: str, forward: float, grad_input: float, grad_weight: float) -> None:
    layer = nn.Linear(8, 4, device="meta")
    (traced,) = swatcost.trace(layer, torch.empty(1, 8, device="meta", requires_grad=True)).weight_layers
    costs = CONVENTIONS["exact"].count(traced, METHODS[method], LayerSparsity(weight=0.75, activation=0.5))
    assert costs.forward.sparse == 32 * forward
    assert costs.grad_input.sparse == 32 * grad_input
    assert costs.grad_weight.sparse == 32 * grad_weight
