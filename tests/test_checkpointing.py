"""What activation checkpointing recomputes, however its weights and arguments come about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

import swatcost
from benchmarks.peers import torch_backward
from tests.cases import HEAD, STEM, Applied, macs, pruned, weights

BLOCK = 2 * 6 * 6  # a batch of 2, from 6 to 6 features


@pytest.mark.parametrize(
    ("made", "of"),
    [
        (lambda self, x: F.linear(x, self.w * 2), {"w": weights(6, 6)}),
        (lambda self, x: F.linear(x, self.w + self.v), {"w": weights(6, 6), "v": weights(6, 6)}),
        (lambda self, x: x @ torch.cat([self.w, self.v], 1), {"w": weights(6, 2), "v": weights(6, 4)}),
        (lambda self, x: F.conv1d(x[..., None], self.w.tanh())[..., 0], {"w": weights(6, 6, 1)}),
        (lambda self, x: self.part(x), {"part": pruned(nn.Linear(6, 6))}),
        (lambda self, x: self.part(x), {"part": parametrizations.weight_norm(nn.Linear(6, 6))}),
    ],
    ids=["scaled", "summed", "joined", "convolution", "pruned", "weight norm"],
)
def test_a_computed_weight_is_recomputed_with_its_layer(made: Callable[..., Tensor], of: dict[str, Any]) -> None:
    block = Applied(made, of)

    def function(self: Any, x: Tensor) -> Tensor:
        return self.head(checkpoint(self.block, self.stem(x), use_reentrant=True))

    network = Applied(function, {"stem": nn.Linear(6, 6), "block": block, "head": nn.Linear(6, 5)})
    x = torch.randn(2, 6)
    # the block runs again; the stem has one gradient, the block and the head two
    expected = STEM + BLOCK + HEAD, BLOCK + STEM + 2 * BLOCK + 2 * HEAD
    assert macs(swatcost.trace(network, x)) == expected
    assert torch_backward(network, (x,)) == expected[1]


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_one_tensor_given_twice_stays_one_in_the_recomputation(use_reentrant: bool) -> None:
    def function(self: Any, x: Tensor) -> Tensor:
        x = self.stem(x)
        return checkpoint(lambda *qkv: self.mha(*qkv)[0], x, x, x, use_reentrant=use_reentrant)

    network = Applied(function, {"stem": nn.Linear(6, 6), "mha": nn.MultiheadAttention(6, 2, batch_first=True)})
    x = torch.randn(2, 4, 6)
    stem, qkv, product, out = 2 * 4 * 36, 2 * 4 * 6 * 18, 2 * 2 * 4 * 4 * 3, 2 * 4 * 36  # 288, 864, 192, 288
    again = qkv + 2 * product + (out if use_reentrant else 0)  # the last layer's input is the last that is saved
    assert macs(swatcost.trace(network, x)) == (
        stem + qkv + 2 * product + out,
        stem + 2 * (qkv + 2 * product + out) + again,
    )
    assert torch_backward(network, (x,)) == stem + 2 * (qkv + 2 * product + out) + again


def test_an_operation_counted_by_a_users_formula_is_recomputed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swatcost.network.formulas._FORMULAS", {})
    swatcost.formula("tanh")(lambda x, *, out_shape: (5, 7))
    monkeypatch.setattr("swatcost.network.formulas._REGISTERED_HERE", set())
    network = Applied(
        lambda self, x: checkpoint(torch.tanh, self.stem(x), use_reentrant=True), {"stem": nn.Linear(6, 6)}
    )
    assert macs(swatcost.trace(network, torch.randn(2, 6))) == (STEM + 5, STEM + 7 + 5)


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_what_a_checkpoint_keeps_is_its_input_whole(use_reentrant: bool) -> None:
    """The block's layers run again on what it was given, as it was: no sparse copy serves for that."""

    def function(self: Any, x: Tensor) -> Tensor:
        x = checkpoint(self.block, self.stem(x).relu(), use_reentrant=use_reentrant)
        return self.head(F.max_pool1d(x[None], 2)[0])

    block = nn.Sequential(nn.Linear(6, 6), nn.ReLU())
    network = Applied(function, {"stem": nn.Linear(6, 6), "block": block, "head": nn.Linear(3, 5)})
    saved = swatcost.trace(network, torch.randn(2, 6)).saved_before_loss
    assert [(each.operation, each.as_layer_input) for each in saved[:3]] == [
        ("addmm", True), ("relu", False), ("checkpoint", False),
    ]  # fmt: skip
    assert saved[1].storage == saved[2].storage  # the block's input is what the first ReLU keeps
    # what the block's ReLU keeps is recomputed: max pooling keeps its result, and a bit per element is not enough
    assert {each.operation for each in saved[3:]} == {"max_pool2d_with_indices", "addmm"}
