"""What meets padding, against loops over every output, and against a convolution of ones."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import swatcost
from swatcost.counting.padding import inside_fraction, reach


def by_loops(
    X: int, R: int, stride: int, padding: int, dilation: int, H: int
) -> tuple[list[int], list[int], list[int]]:
    weight, input, output = [0] * R, [0] * X, [0] * H
    for h, r in product(range(H), range(R)):
        x = h * stride - padding + r * dilation
        if 0 <= x < X:
            weight[r] += 1
            input[x] += 1
            output[h] += 1
    return weight, input, output


@settings(deadline=None, max_examples=60)
@given(
    size=st.integers(5, 9), kernel=st.integers(1, 3), stride=st.integers(1, 3), padding=st.integers(0, 2),
    dilation=st.integers(1, 2), transposed=st.booleans(),
)  # fmt: skip
def test_reach_equals_loops(size: int, kernel: int, stride: int, padding: int, dilation: int, transposed: bool) -> None:
    kind = nn.ConvTranspose1d if transposed else nn.Conv1d
    conv = kind(2, 3, kernel, stride=stride, padding=padding, dilation=dilation)
    layer = swatcost.trace(conv, input_shape=(2, size)).weight_layers[0]
    found = reach(layer)
    X, H = layer.input_shape[2], layer.output_shape[2]
    large, small = (H, X) if transposed else (X, H)
    weight, of_large, of_small = by_loops(large, kernel, stride, padding, dilation, small)
    assert found.weight.tolist() == weight
    assert (found.output if transposed else found.input).tolist() == of_large
    assert (found.input if transposed else found.output).tolist() == of_small
    # every element is present: a convolution of ones counts the same
    ones = conv(torch.ones(1, 2, size)) if not conv.bias.detach().fill_(0).any() else None
    assert ones is not None
    with torch.no_grad():
        conv.weight.fill_(1)
        assert int(conv(torch.ones(1, 2, size)).sum()) == found.total * 2 * 3


def test_a_padded_image() -> None:
    layer = swatcost.trace(nn.Conv2d(1, 1, 3, padding=1), input_shape=(1, 4, 4)).weight_layers[0]
    # in each dimension 3 + 4 + 3 = 10 of 4 · 3 = 12 pairs are inside
    assert inside_fraction(layer) == pytest.approx((10 / 12) ** 2)
    assert reach(layer).input.tolist() == [[4, 6, 6, 4], [6, 9, 9, 6], [6, 9, 9, 6], [4, 6, 6, 4]]


def test_linear_layers_have_no_border() -> None:
    layer = swatcost.trace(nn.Linear(3, 4), input_shape=(3,)).weight_layers[0]
    assert (inside_fraction(layer), reach(layer).total) == (1.0, 1)
