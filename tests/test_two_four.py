"""2:4 sparsity: which products fit a sparse tensor core, and the ceilings."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.sparse import semi_structured

import swatcost
from swatcost.accelerator.masks import MaskSource
from swatcost.common.errors import SwatcostError
from swatcost.counting.two_four import MULTIPLES, two_four
from swatcost.published.sparse_hardware import reported_gains


def test_multiples_are_torchs() -> None:
    cusparselt = semi_structured.SparseSemiStructuredTensorCUSPARSELT._DTYPE_SHAPE_CONSTRAINTS
    cutlass = semi_structured.SparseSemiStructuredTensorCUTLASS._DTYPE_SHAPE_CONSTRAINTS
    for element, multiple in MULTIPLES.items():
        if element == "float32":
            needed = cutlass[torch.float32]
        else:
            needed = cusparselt[torch.float8_e4m3fn if element == "float8" else getattr(torch, element)]
        assert (needed.sparse_min_rows, needed.sparse_min_cols) == (multiple, multiple)


def test_ceilings_of_a_layer_that_fits_by_hand() -> None:
    body = nn.Sequential(nn.Linear(64, 64, bias=False), nn.Linear(64, 32, bias=False))
    found = two_four(swatcost.trace(body, input_shape=(64,)), batch_size=16)
    # MACs a sample: first 4096 forward and for its weight, second 2048 in each of three passes
    dense, forward, grad_input, grad_weight = 4096 * 2 + 2048 * 3, 4096 + 2048, 2048, 4096 + 2048
    assert found.ceiling("weights") == pytest.approx(dense / (dense - forward / 2))
    assert found.ceiling("transposable weights") == pytest.approx(dense / (dense - (forward + grad_input) / 2))
    assert found.ceiling("and gradients") == pytest.approx(2)
    assert grad_weight == found.macs("grad_weight") / 16


def test_what_does_not_fit_says_why() -> None:
    found = two_four("resnet50", batch_size=1)
    reasons = {(each.workload.layer, each.workload.in_pass): each.reason for each in found.fits}
    assert reasons["conv1", "forward"] == "147 columns, not a multiple of 16"  # 3 · 7 · 7
    assert reasons["fc", "forward"] == "1000 rows, not a multiple of 16"
    assert reasons["layer1.0.conv2", "forward"] == ""
    assert reasons["layer4.2.conv3", "grad_weight"] == "49 columns, not a multiple of 16"  # 7 · 7, 1 image
    depthwise = two_four(swatcost.trace(nn.Conv2d(32, 32, 3, groups=32), input_shape=(32, 8, 8)))
    assert {each.reason for each in depthwise.fits} == {"1 rows, not a multiple of 16"}
    with pytest.raises(SwatcostError, match="element 'float61'"):
        two_four("resnet50", element="float61")


def test_products_of_activations_in_attention_are_not_weights() -> None:
    found = two_four("vit_b_16", batch_size=1)
    assert any("product of activations" in each.reason for each in found.fits)


def test_reports_have_sources() -> None:
    assert len(reported_gains()) == 6
    assert all(each.source and each.value and each.unit for each in reported_gains())


@pytest.mark.parametrize("module", [nn.Conv2d(8, 6, 3), nn.Linear(16, 8), nn.ConvTranspose2d(8, 4, 3, groups=2)])
def test_masks_of_n_of_m_keep_n_of_every_m_along_input_channels(module: nn.Module) -> None:
    shape = (module.in_features,) if isinstance(module, nn.Linear) else (module.in_channels, 9, 9)  # type: ignore[attr-defined]
    network = swatcost.trace(module, input_shape=shape)  # type: ignore[arg-type]
    estimate = swatcost.estimate(network, distribution="nm", source="1:4")
    assert estimate.plan.pattern == (1, 4)
    layer, sparsity = estimate.plan.by_layer(network)[0]
    mask = MaskSource().of(layer, sparsity.weight, 0, whole_kernels=False, pattern=estimate.plan.pattern)
    first = mask.swapaxes(0, 1) if layer.kind == "transposed_conv" else mask
    by_group = first.reshape(first.shape[0], -1, 4, *first.shape[2:]).sum(axis=2)
    assert (by_group == 1).all()
