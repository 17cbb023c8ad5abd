"""The zoo's networks against published parameter counts, torch's counter and fvcore."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from swatcost_models import ZOO
from torch.utils.flop_counter import FlopCounterMode

import swatcost
from swatcost.counting.conventions import EXACT
from swatcost.counting.costs import PassCosts
from swatcost.methods import METHODS, LayerSparsity
from swatcost.reference.runnable import runnable

from .conftest import zoo_input, zoo_module, zoo_network

# torchvision's documentation prints the ImageNet ones; the CIFAR ones are those of the public implementations
# that the sparse-training literature starts from (WRN: 11.0 M and 36.5 M in the paper's Table 4).
PUBLISHED_PARAMETERS = {
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "wide_resnet50_2": 68_883_240,
    "vgg16_bn": 138_365_992,
    "densenet121": 7_978_856,
    "vit_b_16": 86_567_656,
    "vit_s_16": 22_050_664,  # timm's; 22M in the DeiT paper
    "convnext_base": 88_591_464,
    # 117M in its paper, a miscount that its authors corrected to 124M; written out in test_language_models.py
    "gpt2": 124_439_808,
    "gpt2_xl": 1_557_611_200,  # 1542M in its paper
    "llama2_7b": 6_738_415_616,
    "llama3_8b": 8_030_261_248,
    "mixtral_8x7b": 46_702_792_704,
    "bert_base": 110_106_428,  # with both heads: written out in test_language_zoo.py
    "cifar_resnet18": 11_173_962,
    "cifar_resnet50": 23_520_842,
    "cifar_resnet101": 42_512_970,
    # convolutions of VGG-16: 14,714,688 with bias; BN: 2 · 4,224; head: 512·4096+4096 + 4096·4096+4096 + 4096·10+10
    "cifar_vgg16": 14_714_688 + 8_448 + 2_101_248 + 16_781_312 + 40_970,
    "cifar_densenet121": 6_956_298,
    "cifar_wrn_16_8": 10_961_370,
    "cifar_wrn_28_10": 36_479_194,
}


def executed(network: swatcost.Network) -> PassCosts:
    dense = LayerSparsity()
    counts = (
        EXACT.count(layer, METHODS["dense"], dense).per_sample(network.batch_size) for layer in network.counted_layers
    )
    return sum(counts, PassCosts())


def _grouped_flops(left: torch.Size, right: torch.Size, *_: Any, **__: Any) -> int:
    """Of (rows, K) by (experts, K, N), and of (M, rows) by (rows, N) in a weight's gradient."""
    return 2 * left.numel() * right[-1]


def torch_macs(name: str, *, backward: bool, batch: int = 4) -> int:
    """MACs per sample by torch's counter, which counts two FLOPs a MAC over the whole batch.

    It does not know grouped products, which it is told, and which on the meta device take bfloat16 only.
    """
    module = zoo_module(name)
    if name == "mixtral_8x7b":
        module = module.bfloat16()
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten._grouped_mm: _grouped_flops}) as counter:
        outputs = module(zoo_input(name, batch))
        if backward:
            sum(each.sum() for each in (outputs if isinstance(outputs, tuple) else (outputs,))).backward()
    flops = counter.get_total_flops()
    assert flops % (2 * batch) == 0
    return flops // (2 * batch)


def test_every_network_has_a_published_count() -> None:
    assert set(PUBLISHED_PARAMETERS) == set(ZOO)


def test_parameters(zoo_name: str) -> None:
    assert zoo_network(zoo_name).parameter_elements == PUBLISHED_PARAMETERS[zoo_name]


def test_forward_equals_torch_counter(zoo_name: str) -> None:
    assert executed(zoo_network(zoo_name)).forward.dense == torch_macs(zoo_name, backward=False)


def test_exact_training_equals_torch_counter(zoo_name: str) -> None:
    """torch's counter does not divide grad_weight by the groups of a convolution: that is put right here."""
    network = zoo_network(zoo_name)
    grouped = [layer for layer in network.weight_layers if layer.kind == "conv" and layer.groups > 1]
    excess = sum(
        (layer.groups - 1) * EXACT.count(layer, METHODS["dense"], LayerSparsity()).grad_weight.dense
        for layer in grouped
    )
    assert executed(network).training.dense + excess / network.batch_size == torch_macs(zoo_name, backward=True)


@pytest.mark.filterwarnings("ignore")  # fvcore uses what torch deprecates
@pytest.mark.parametrize("name", ["cifar_resnet18", "cifar_vgg16", "cifar_wrn_16_8"])
def test_forward_equals_fvcore(name: str) -> None:
    """fvcore counts one 'flop' a MAC. It adds what it takes batch norm and pooling to cost: left out by operator."""
    from fvcore.nn import FlopCountAnalysis

    counts = FlopCountAnalysis(ZOO[name].build().eval(), torch.zeros(1, *ZOO[name].input_shape))
    by_operator = counts.unsupported_ops_warnings(False).by_operator()
    assert by_operator["conv"] + by_operator["linear"] == executed(zoo_network(name)).forward.dense


def test_classes_and_input_shape_can_be_changed() -> None:
    network = swatcost.load("cifar_resnet18", input_shape=(3, 64, 64), classes=100)
    assert network.weight_layers[-1].weight_shape == (100, 512)
    # Four times the pixels, four times the convolutions' work; the classifier sees one pooled position.
    of_convs = executed(network).forward.dense - 100 * 512
    assert of_convs == 4 * (executed(zoo_network("cifar_resnet18")).forward.dense - 10 * 512)


def test_unknown_model_names_the_nearest() -> None:
    with pytest.raises(swatcost.SwatcostError, match="unknown model 'resnet5': did you mean resnet50 or"):
        swatcost.load("resnet5")


def test_without_torch_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(swatcost.SwatcostError, match="tracing resnet18 needs torch, which cannot be imported"):
        swatcost.load("resnet18", classes=7)


@pytest.mark.parametrize("classes", [0, -1, True, 2.5, 2**63, 10**30])
def test_classes_have_to_be_a_positive_whole_number(classes: int) -> None:
    with pytest.raises(swatcost.SwatcostError, match="give a whole number from 1 to 10\\^12"):
        swatcost.load("cifar_resnet18", classes=classes)
    with pytest.raises(swatcost.SwatcostError, match="give a whole number from 1 to 10\\^12"):
        runnable("cifar_resnet18", classes=classes)


def test_networks_of_tokens_are_not_run() -> None:
    with pytest.raises(swatcost.SwatcostError, match="llama2_7b takes tokens, but what is run are images: name a"):
        runnable("llama2_7b")
