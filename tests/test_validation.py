"""The model against what runs: multiplications, saved bytes, sparsity between two Top-K."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import nn

import swatcost
from swatcost import reference
from swatcost.cli import main
from swatcost.reference.scopes import VALIDATING
from swatcost.reference.validation import validate


@pytest.mark.parametrize(("name", "batch_size"), [("cifar_resnet18", 2), ("cifar_vgg16", 2), ("cifar_densenet121", 1)])
def test_executed_multiplications_are_the_model_s(name: str, batch_size: int) -> None:
    """Within 0.1 % in total with borders accounted for; without, they are up to a fifth off."""
    found = validate(name, weights=0.8, acts=0.8, steps=2, batch_size=batch_size)
    total = found.total
    assert abs(total.executed / total.placed - 1) < 1e-3
    assert abs(total.executed / total.reached - 1) > 0.02  # the borders
    assert total.executed == pytest.approx(total.inside, rel=0.01)  # as if zeros were spread evenly
    for model, measured in found.saved.values():
        assert model == measured
    second = found.steps[1]
    drift = [abs(layer.reached.weight - 0.8) for layer in second.layers if layer.target.weight]
    assert 0 < max(drift) < 0.05


def test_a_convolution_multiplied_out() -> None:
    """Every pair of a kept weight or activation with what it meets, by loops over a strided, padded convolution."""
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2, bias=False)
    x = torch.randn(2, 2, 5, 5, requires_grad=True)
    network = swatcost.trace(conv, input_shape=(2, 5, 5))
    estimate = swatcost.estimate(network, weights=0.5, acts=0.5, first_layer="sparse", period=1)
    with reference.convert(conv, estimate) as converted, converted.counting() as counts:
        conv(x).sum().backward()
        layer = converted.layers["weight"]
        w_kept, x_kept = layer.weight.kept(conv.weight), layer.activation.kept(x)
    assert w_kept is not None
    assert x_kept is not None
    forward = grad_weight = 0
    for n, f, h, v, r, s in product(range(2), range(4), range(3), range(3), range(3), range(3)):
        i, j = 2 * h - 1 + r, 2 * v - 1 + s
        if 0 <= i < 5 and 0 <= j < 5:
            forward += int(w_kept[f, 0, r, s])
            grad_weight += int(x_kept[n, f // 2, i, j])
    assert counts["weight"][0].macs == {"forward": forward, "grad_input": forward, "grad_weight": grad_weight}


@pytest.mark.parametrize("method", ["saw", "meprop", "swat-structured", "dense"])
def test_every_method_that_runs_is_as_counted(method: str) -> None:
    targets = {"grads": 0.7} if method == "meprop" else ({"weights": 0.7, "acts": 0.7} if method != "dense" else {})
    found = validate("cifar_resnet18", method=method, steps=1, batch_size=2, input_shape=(3, 16, 16), **targets)
    assert found.total.executed == pytest.approx(found.total.placed, rel=1e-9)
    model, measured = found.saved["dense"]
    assert model == measured


TWO_BLOCKS = """
from unittest.mock import patch
from swatcost_models import vit

def build():
    with patch.object(vit, "_BLOCKS", 2):
        return vit.vit_b_16()
"""


def test_attention_is_as_counted(tmp_path: Path) -> None:
    """ViT-B/16 with two of its twelve blocks, which are all alike."""
    (tmp_path / "two_blocks.py").write_text(TWO_BLOCKS)
    model = f"{tmp_path}/two_blocks.py:build"
    found = validate(model, weights=0.8, acts=0.8, steps=1, batch_size=1, input_shape=(3, 224, 224))
    assert len(found.estimate.network.weight_layers) == 1 + 2 * 4 + 1
    assert found.total.executed == pytest.approx(found.total.reached, rel=1e-9)  # nothing is padded
    assert not found.left_dense


def test_zeros_that_were_there_before_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    """ReLU leaves half of them: a target of 20 % is passed without Top-K."""
    words = ["validate", "cifar_resnet18", "--acts", "0.2", "--input-shape", "3,8,8", "--steps", "1"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "there are more zeros than that before masking" in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 80
    assert main([*words, "--layers", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    parts = found["totals"]["all"]
    assert parts["executed"] == pytest.approx(parts["placed"])


FROZEN = """
from torch import nn

def build():
    frozen = nn.Conv2d(8, 8, 3, padding=1).requires_grad_(False)
    body = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), frozen, nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1)
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
"""


def test_a_frozen_layer_has_no_target_of_activations(tmp_path: Path) -> None:
    """Only the gradient of its weight would read sparse ones."""
    (tmp_path / "frozen.py").write_text(FROZEN)
    found = validate(f"{tmp_path}/frozen.py:build", input_shape=(3, 16, 16), weights=0.5, acts=0.5, steps=1)
    targets = {layer.weight: (layer.target.weight, layer.target.activation) for layer in found.steps[0].layers}
    assert targets == {
        "0.weight": (0.0, 0.0), "2.weight": (0.5, 0.0), "4.weight": (0.5, 0.5), "7.weight": (0.5, 0.5)
    }  # fmt: skip
    for model, measured in found.saved.values():
        assert model == measured


def test_json_records_what_was_executed(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["validate", "cifar_resnet18", "--weights", "0.5", "--input-shape", "3,8,8", "--format", "json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["setting"] == {name: each.default for name, each in VALIDATING.options.items()} | {"weights": 0.5}
    assert (found["setting"]["steps"], found["setting"]["selection"]) == (2, "exact")
    assert len(found["steps"]) == 2
    assert main([*words, "--steps", "1", "--selection", "sampled", "--one-sample"]) == 0
    setting = json.loads(capsys.readouterr().out)["setting"]
    assert (setting["steps"], setting["selection"], setting["one_sample"]) == (1, "sampled", True)
    assert not setting.keys() & VALIDATING.without.keys()  # an estimate's, which nothing was executed with


@pytest.mark.parametrize("format", ["csv", "markdown", "latex"])
def test_other_forms(format: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["validate", "cifar_resnet18", "--weights", "0.5", "--input-shape", "3,8,8", "--steps", "1"]
    assert main([*words, "--layers", "--format", format]) == 0
    assert "conv1" in capsys.readouterr().out
