"""Parameters that share one storage, as cuDNN, FSDP and flattening optimizers make them: each keeps name and size."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

import swatcost
from swatcost.tracing import own_tensors

MODULES = {
    "linear": (lambda: nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5)), (3,)),
    "conv": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)), (3, 8, 8)),
    "lstm": (lambda: nn.LSTM(3, 12, 2, batch_first=True, bidirectional=True), (2, 3)),
    "gru": (lambda: nn.GRU(3, 12, batch_first=True), (2, 3)),
}


def parts_of_one_storage(parameters: list[Tensor]) -> list[Tensor]:
    """Copies of the parameters, one behind the other."""
    flat = torch.cat([each.detach().flatten() for each in parameters])
    starts = accumulate((each.numel() for each in parameters), initial=0)
    return [flat[start:][: each.numel()].view_as(each) for start, each in zip(starts, parameters, strict=False)]


class Flattening(nn.Module):
    """Moves its parameters into one storage in the forward pass, as a recurrent module on CUDA does."""

    def __init__(self, module: nn.Module, flatten: Any) -> None:
        super().__init__()
        self.module = module
        self.flatten = flatten

    def forward(self, x: Tensor) -> Any:
        self.flatten(list(self.module.parameters()))
        return self.module(x)


def set_one_by_one(parameters: list[Tensor]) -> None:
    with torch.no_grad():
        for each, part in zip(parameters, parts_of_one_storage(parameters), strict=True):
            each.set_(part)  # type: ignore[call-overload]


def set_unseen(parameters: list[Tensor]) -> None:
    """As cuDNN's kernel: the dispatcher sees one operation, which does not say that it moves its arguments."""
    with _disable_current_modes():
        set_one_by_one(parameters)
    torch.ops.aten.neg(parameters[0].detach())  # stands for torch's _cudnn_rnn_flatten_weight, which needs a GPU


def weights_of(network: swatcost.Network, prefix: str = "") -> list[tuple[Any, ...]]:
    return [
        (each.weight.removeprefix(prefix), {name.removeprefix(prefix) for name in each.parameters}, each.weight_shape)
        for each in network.weight_layers
    ]


@pytest.mark.parametrize("kind", MODULES)
@pytest.mark.parametrize("real", [False, True])
def test_parameters_that_share_a_storage(kind: str, real: bool) -> None:
    build, shape = MODULES[kind]
    module = build()
    inputs: dict[str, Any] = {"example_inputs": torch.zeros(7, *shape)} if real else {"input_shape": shape}
    expected = swatcost.trace(module, **inputs)
    for each, part in zip(list(module.parameters()), parts_of_one_storage(list(module.parameters())), strict=True):
        each.data = part
    assert len({each.untyped_storage().data_ptr() for each in module.parameters()}) == 1
    network = swatcost.trace(module, **inputs)
    assert weights_of(network) == weights_of(expected)
    assert network.parameters == expected.parameters


@pytest.mark.parametrize("kind", MODULES)
@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("flatten", [set_one_by_one, set_unseen])
def test_parameters_that_move_in_the_forward_pass(
    kind: str, real: bool, flatten: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_tensors, "_REPLACE_STORAGES", (torch.ops.aten.set_, torch.ops.aten.neg))
    build, shape = MODULES[kind]
    module = build()
    inputs: dict[str, Any] = {"example_inputs": torch.zeros(7, *shape)} if real else {"input_shape": shape}
    expected = weights_of(swatcost.trace(module, **inputs))
    network = swatcost.trace(Flattening(module, flatten), **inputs)
    assert weights_of(network, "module.") == expected
    assert [each.shape for each in network.parameters] == [tuple(each.shape) for each in module.parameters()]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="cuDNN flattens on CUDA only")
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_cudnn(kind: str) -> None:
    build, shape = MODULES[kind]
    module = build()
    network = swatcost.trace(module.cuda(), torch.zeros(7, *shape, device="cuda"))
    names = {name for name, each in module.named_parameters() if each.dim() == 2}
    assert {each.weight for each in network.weight_layers} == names


def test_views_of_one_parameter_are_its_parts() -> None:
    """FSDP's flat parameter: 3 × 4 and 4 × 5 weights are its elements 0 to 12 and 12 to 32."""

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.flat = nn.Parameter(torch.zeros(12 + 20))

        def forward(self, x: Tensor) -> Tensor:
            first, second = self.flat.split([12, 20])
            return x @ first.view(3, 4) @ second.view(4, 5)

    network = swatcost.trace(Flat(), input_shape=(3,))
    assert weights_of(network) == [("flat[0:12]", {"flat"}, (4, 3)), ("flat[12:32]", {"flat"}, (5, 4))]
