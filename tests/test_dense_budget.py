"""Which layers stay dense, and whether their weights count towards a target that is a total."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
import torch
from torch import nn

import swatcost
from swatcost.distributions import DISTRIBUTIONS
from swatcost.estimate import Estimate
from swatcost.network import Network
from swatcost.planning.solution import solution

WEIGHTS = {"stem": 8 * 40, "block.conv": 40 * 48, "block.downsample": 40 * 48, "head": 48 * 32}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(8, 40, bias=False)
        self.block = nn.ModuleDict({"conv": nn.Linear(40, 48, bias=False), "downsample": nn.Linear(40, 48, bias=False)})
        self.head = nn.Linear(48, 32, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x).relu()
        found: torch.Tensor = self.head((self.block["conv"](x) + self.block["downsample"](x)).relu())
        return found


@pytest.fixture(scope="module")
def network() -> Network:
    return swatcost.trace(Net(), input_shape=(8,))


def checkpoint() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return Net().state_dict()


SOURCES: dict[str, Any] = {"momentum": {"*": {"share": 1.0}}, "global": checkpoint()}
TOTALS = [each.name for each in DISTRIBUTIONS if each.keeps_total]
DENSE: list[tuple[dict[str, Any], set[str]]] = [
    ({"first_layer": "sparse"}, set()),
    ({"first_layer": "dense"}, {"stem"}),
    ({"first_layer": "sparse", "last_layer": "dense"}, {"head"}),
    ({"first_layer": "sparse", "keep_dense": ["*downsample*"]}, {"block.downsample"}),
    ({"first_layer": "dense", "last_layer": "dense", "keep_dense": "block.conv"}, {"stem", "head", "block.conv"}),
    ({"first_layer": "dense", "method": "set"}, {"stem", "block.downsample"}),  # as SWAT ran it
    ({"first_layer": "dense", "method": "dsr"}, {"stem", "block.downsample"}),
    ({"first_layer": "dense", "method": "set", "keep_dense": "none"}, {"stem"}),
    ({"first_layer": "sparse", "method": "dsr", "keep_dense": ()}, set()),
]  # fmt: skip


def zeros(found: Estimate, names: set[str]) -> float:
    return sum(WEIGHTS[each.layer.name] * each.sparsity.weight for each in found.layers if each.layer.name in names)


def test_which_distributions_have_a_total() -> None:
    assert TOTALS == ["er", "erk", "global", "momentum"]


@pytest.mark.parametrize(("kept", "dense"), DENSE)
@pytest.mark.parametrize("name", TOTALS)
@pytest.mark.parametrize("budget", ["inside", "outside", None])
def test_the_budget_is_met_and_said(
    network: Network, name: str, budget: str | None, kept: dict[str, Any], dense: set[str]
) -> None:
    target, every, free = 0.25, sum(WEIGHTS.values()), set(WEIGHTS) - dense
    of_free = sum(WEIGHTS[each] for each in free)
    wanted = target * (of_free if budget == "outside" else every)  # zeros, all of them in the free layers
    asked = {"distribution": name, "source": SOURCES.get(name), "dense_budget": budget, "weights": target, **kept}
    if wanted > of_free:
        with pytest.raises(swatcost.SwatcostError, match=r"0\.25 cannot be reached: layers kept dense hold"):
            swatcost.estimate(network, **asked)
        return
    found = swatcost.estimate(network, **asked)
    assert zeros(found, free) == pytest.approx(wanted, abs=0.5)  # global keeps whole weights
    assert zeros(found, dense) == 0
    text, over_all = " ".join(found.assumptions), f"{100 * zeros(found, free) / every:.2f} % sparse over all layers"
    assert (over_all in text) == bool(dense)
    assert ("do not count towards the target, as in RigL's public code" in text) == (
        budget == "outside" and bool(dense)
    )
    assert ("Layers kept dense count towards the target" in text) == (budget != "outside" and bool(dense))
    assert ("SWAT kept those layers dense for" in text) == ("block.downsample" in dense and "method" in kept)
    assert ("here they are not." in text) == (kept.get("keep_dense") in ("none", ()))


@pytest.mark.parametrize(("kept", "dense"), DENSE)
def test_a_target_that_holds_in_each_layer(network: Network, kept: dict[str, Any], dense: set[str]) -> None:
    for budget in ("inside", "outside"):
        found = swatcost.estimate(network, weights=0.5, dense_budget=budget, **kept)  # uniform
        free = sum(WEIGHTS[each] for each in set(WEIGHTS) - dense)
        assert zeros(found, set(WEIGHTS)) == free / 2
        said = f"has the target; weights are {50 * free / sum(WEIGHTS.values()):.2f} % sparse over all layers."
        assert (said in " ".join(found.assumptions)) == bool(dense)


def test_many_settings_at_once_agree(network: Network) -> None:
    kept: dict[str, Any] = {"keep_dense": ["*downsample*"], "dense_budget": "outside", "distribution": "erk"}
    targets = [0.0, 0.3, 0.6, 0.9, 0.97]
    frame = swatcost.sweep(network, weights=targets, **kept)
    one_by_one = [swatcost.estimate(network, weights=each, **kept).weight_sparsity for each in targets]
    numpy.testing.assert_allclose(frame["weight_sparsity"], one_by_one)
    # with 0.97 of 3,776 free weights pruned, 0.97 · 3776 / 5696 of all are
    assert one_by_one[-1] == pytest.approx(0.97 * 3776 / 5696)
    inside = {**kept, "dense_budget": "inside"}
    with pytest.raises(swatcost.SwatcostError, match="cannot be reached"):
        swatcost.sweep(network, weights=0.97, **inside)
    found = solution(network, training_flops=0.6, **kept)
    assert found.estimate.plan.dense_budget == "outside"


def test_set_as_rigl_counts_it() -> None:
    """RigL's Table 2: SET at uniform 80 % needs 0.23 of the dense FLOPs at test time; SWAT's runs of it need more."""
    asked: dict[str, Any] = {"method": "set", "weights": 0.8, "convention": "rigl-padded"}
    assert round(1 - swatcost.estimate("resnet50", keep_dense="none", **asked).inference_reduction, 2) == 0.23
    # the downsample layers, 51.4 M + 3 · 102.8 M of 4.1 G MACs, keep 80 % more of themselves: 0.07
    assert round(1 - swatcost.estimate("resnet50", **asked).inference_reduction, 2) == 0.30


@pytest.mark.parametrize("method", ["set", "dsr", "snfs", "rigl", "pruning", "dst"])
def test_the_default_activation_sparsity_is_charged_to_the_networks_input_too(network: Network, method: str) -> None:
    for convention in ("swat", "equations"):
        found = swatcost.estimate(network, weights=0.5, method=method, convention=convention)
        stem = found.layers[0].costs.grad_weight
        assert (stem.dense, stem.sparse) == (8 * 40, 8 * 40 / 2)
        text = " ".join(found.assumptions)
        assert (
            "ReLU zeroes 50.00 % of activations, those that stem reads included, which are the network's input." in text
        )
    assert "the network's input." not in " ".join(swatcost.estimate(network, weights=0.5, method="swat").assumptions)
