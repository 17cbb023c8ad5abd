"""Sparsity by the momentum of the weights, as in sparse momentum (SNFS)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import swatcost
from swatcost.distributions import tables
from swatcost.network import Network

from .test_distributions import NETWORK, network_of


def momentum_run(trained: tuple[Network, nn.Module], *buffers: torch.Tensor | None) -> dict[str, Any]:
    """A checkpoint of the two layers with these momentum buffers."""
    state = {number: {"momentum_buffer": buffer} for number, buffer in enumerate(buffers)}
    return {
        "model": trained[1].state_dict(),
        "optimizer": {"state": state, "param_groups": [{"params": list(range(len(buffers)))}]},
    }


def test_momentum_of_the_largest_weights_by_hand(trained: tuple[Network, nn.Module]) -> None:
    network, module = trained
    with torch.no_grad():
        module[0].weight.copy_(-torch.arange(1, 65).view(8, 8))
        module[1].weight.copy_(torch.arange(1, 33).view(4, 8))
    momenta = -torch.arange(1.0, 65).view(8, 8), torch.arange(1.0, 33).view(4, 8)
    source = momentum_run(trained, *momenta)
    # a quarter is kept: the mean of 49 … 64 is 56.5, that of 25 … 32 is 28.5; 24 of 96 weights, in these proportions
    found = swatcost.estimate(network, weights=0.75, distribution="momentum", source=source)
    first, second = 56.5 / 85 * 24, 28.5 / 85 * 24
    assert [each.sparsity.weight for each in found.layers] == pytest.approx([1 - first / 64, 1 - second / 32])
    assert swatcost.estimate(network, weights=0.0, distribution="momentum", source=source).weight_sparsity == 0
    # 0.5 % of 64 and of 32 are none, but one is looked at: 64 and 32
    found = swatcost.estimate(network, weights=0.995, distribution="momentum", source=source)
    first, second = 64 / 96 * 0.48, 32 / 96 * 0.48
    assert [each.sparsity.weight for each in found.layers] == pytest.approx([1 - first / 64, 1 - second / 32])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: run["optimizer"].pop("state"), "has no optimizer state"),
        (lambda run: run["optimizer"].pop("param_groups"), "has no optimizer state"),
        (lambda run: run.update(optimizer=5), "has no optimizer state"),
        (lambda run: run["optimizer"]["param_groups"][0]["params"].pop(), "1 parameters, but the network has 2"),
        (
            lambda run: run["optimizer"]["param_groups"][0]["params"].append(2),
            "3 parameters, but the network has 2",
        ),
        (lambda run: run["optimizer"]["state"].pop(1), r"has no momentum_buffer for 1\.weight"),
        (lambda run: run["optimizer"]["state"].update({1: {"momentum_buffer": None}}), "has no momentum_buffer for 1"),
        (lambda run: run["optimizer"]["state"].update({1: {"momentum_buffer": 5}}), "has no usable optimizer state"),
        (
            lambda run: run["optimizer"]["state"].update({1: {"momentum_buffer": torch.ones(3)}}),
            r"the momentum of 1\.weight has 3 elements, not the network's 32",
        ),
    ],
)
def test_momentum_that_is_missing(trained: tuple[Network, nn.Module], change: Any, message: str) -> None:
    run = momentum_run(trained, torch.ones(8, 8), torch.ones(4, 8))
    swatcost.estimate(trained[0], weights=0.5, distribution="momentum", source=run)
    change(run)
    with pytest.raises(swatcost.SwatcostError, match=message):
        swatcost.estimate(trained[0], weights=0.5, distribution="momentum", source=run)


def test_momentum_beside_dense_layers(trained: tuple[Network, nn.Module]) -> None:
    # 96 weights, of which 64 stay dense: at least those have to be kept
    request: dict[str, Any] = {"distribution": "momentum", "source": {"*": 1}, "keep_dense": ["0"]}
    with pytest.raises(swatcost.SwatcostError, match="cannot be reached: layers kept dense"):
        swatcost.estimate(trained[0], weights=1 - 63.5 / 96, **request)
    found = swatcost.estimate(trained[0], weights=1 - 72 / 96, **request)
    assert [each.sparsity.weight for each in found.layers] == pytest.approx([0, 1 - 8 / 32])


def test_the_first_layer_without_a_share_is_named() -> None:
    with pytest.raises(swatcost.SwatcostError, match=r"no momentum share for layer l1$"):
        swatcost.estimate(network_of([(4, 4, 1, 1)] * 3), weights=0.5, distribution="momentum", source={"l0": 1})


def test_momentum_overflows_more_than_once() -> None:
    # 100, 100 and 1000 weights, 700 kept; shares 70 : 20 : 10 ask for 490, 140, 70. Both small layers are full; their
    # excess of 390 + 40 goes to the third, which gets 500.
    network = network_of([(10, 10, 1, 1), (10, 10, 1, 1), (10, 100, 1, 1)])
    shares = {"l0": 7, "l1": 2, "l2": 1}
    found = swatcost.estimate(network, weights=1 - 700 / 1200, distribution="momentum", source=shares)
    assert [each.sparsity.weight for each in found.layers] == pytest.approx([0, 0, 0.5])
    # shares 80 : 9 : 11 of 700 ask for 560, 63, 77; half of the excess of 460 overfills the second by 193: 500 again
    shares = {"l0": 80, "l1": 9, "l2": 11}
    found = swatcost.estimate(network, weights=1 - 700 / 1200, distribution="momentum", source=shares)
    assert [each.sparsity.weight for each in found.layers] == pytest.approx([0, 0, 0.5])


def test_a_record_without_momentum_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def estimate(**columns: float) -> list[float]:
        rows = {"l0": columns, "l1": columns}
        monkeypatch.setattr(tables, "read_record", lambda path: SimpleNamespace(by_layer=lambda: rows))
        found = swatcost.estimate(NETWORK, weights=0.5, distribution="momentum", source="run.jsonl")
        return [each.sparsity.weight for each in found.layers]

    assert estimate(share=0.5, weights=0.9) == pytest.approx([0, 1 - 136 / 288])  # 152 kept, 16 of them in the first
    with pytest.raises(swatcost.SwatcostError, match=r"run\.jsonl has no momentum: the run had one step"):
        estimate(weights=0.9)
