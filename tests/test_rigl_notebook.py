"""MobileNet-v1 as RigL's authors counted it: what their published notebook prints, which this project did not write.

Source: google-research/rigl, imagenet_resnet/colabs/MobileNet_Counting.ipynb. Its network is Keras's MobileNet at
224 × 224, where a layer of its own pads the inputs of strided convolutions, at the bottom and on the right, and where
the classifier is a 1 × 1 convolution. Its sparse counts are of inference.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import swatcost
from swatcost.network import Network

BLOCKS = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
"""Filters of each block's 1 × 1 convolution, and the stride of the depthwise one before it."""


def mobilenet(padded_by_a_layer: bool) -> Network:
    def conv(name: str, channels: int, filters: int, stride: int, groups: int) -> list[tuple[str, nn.Module]]:
        own_layer = padded_by_a_layer and stride == 2
        pads = [(f"{name}_pad", nn.ZeroPad2d((0, 1, 0, 1)))] if own_layer else []
        padding = 0 if own_layer else 1
        return [*pads, (name, nn.Conv2d(channels, filters, 3, stride, padding, groups=groups, bias=False))]

    layers, channels = conv("conv1", 3, 32, 2, 1), 32
    for place, (filters, stride) in enumerate(BLOCKS):
        layers += conv(f"dw{place}", channels, channels, stride, channels)
        layers += [(f"pw{place}", nn.Conv2d(channels, filters, 1, bias=False))]
        channels = filters
    layers += [("pool", nn.AdaptiveAvgPool2d(1)), ("preds", nn.Conv2d(channels, 1000, 1))]
    network = nn.Sequential()
    for name, layer in layers:
        network.add_module(name, layer)
    with torch.device("meta"):
        return swatcost.trace(network, input_shape=(3, 224, 224), name="mobilenet_v1")


KERAS, TORCH = mobilenet(True), mobilenet(False)
"""The notebook's network, and the same as torch has it: padded on all sides by the convolutions themselves."""


def test_dense_is_published() -> None:
    for network in (KERAS, TORCH):
        dense = swatcost.estimate(network, convention="rigl-padded").costs.inference.dense
        assert round(2 * dense / 1e6, 3) == 1141.544


def test_what_the_formula_of_appendix_h_gives_instead() -> None:
    # By position, halves of a block's strides: 2 · 27 · 112² · 32 and an output's FLOP for bias and ReLU each.
    size, channels, flops = 112, 32, (2 * 27 + 1) * 112**2 * 32
    for filters, stride in BLOCKS:
        size //= stride
        flops += (2 * 9 + 1) * size**2 * channels + (2 * channels + 1) * size**2 * filters
        channels = filters
    flops += (2 * 1024 + 1) * 1000
    assert 2 * swatcost.estimate(KERAS, convention="rigl").costs.inference.dense == flops == 1_142_524_392


PUBLISHED = {  # layers kept dense and distribution: MFLOPs as printed for 75, 85, 90 and 95 %
    (("dw*",), "erk"): (599.144, 439.152, 334.134, 205.281),
    (("conv1",), "erk"): (588.355, 422.419, 312.956, 180.359),
    (("conv1", "dw*"), "uniform"): (330.769, 222.666, 168.614, 114.563),
}


@pytest.mark.parametrize(("kept", "distribution"), PUBLISHED)
def test_sparse_counts_are_published(kept: tuple[str, ...], distribution: str) -> None:
    """ERK with layers kept dense is met by the other layers alone in RigL's code."""
    how: dict[str, Any] = {"distribution": distribution, "keep_dense": kept, "dense_budget": "outside"}
    found = [
        swatcost.estimate(KERAS, method="rigl", weights=sparsity, convention="rigl-padded", **how)
        for sparsity in (0.75, 0.85, 0.9, 0.95)
    ]
    printed = [round(2 * each.costs.inference.sparse / 1e6, 3) for each in found]
    # The notebook solves for ERK's scale with whole numbers of zeros, rounded up: less than one weight fewer in each of
    # 28 layers, which is at most 0.008 MFLOPs here (nothing at 75 %, as all sizes divide by 4).
    assert printed == pytest.approx(PUBLISHED[kept, distribution], abs=0.0085 if distribution == "erk" else 0)
