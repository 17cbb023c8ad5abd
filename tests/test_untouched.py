"""That a traced module comes back as it was, whatever its forward pass does."""

from __future__ import annotations

import copy
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import swatcost


class Unsettling(nn.Module):
    """Changes whatever a forward pass can change."""

    def __init__(self, fails: bool) -> None:
        super().__init__()
        self.fails = fails
        self.conv = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.drop = nn.Dropout()
        self.register_buffer("calls", torch.zeros(()))
        self.eval_part = nn.BatchNorm2d(4).eval()

    def forward(self, x: Tensor) -> Tensor:
        x.mul_(2)
        self.calls += 1
        random.random()
        np.random.rand()
        torch.rand(1)
        x = self.eval_part(self.drop(self.bn(self.conv(x))))
        if self.fails:
            raise RuntimeError("on purpose")
        return x


class Results(nn.Module):
    """The results of a recurrent module, without its state."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Tensor) -> Tensor:
        results, _ = self.part(x)
        return results


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("real", [False, True])
def test_the_module_comes_back_untouched(fails: bool, training: bool, real: bool) -> None:
    module = Unsettling(fails).train(training)
    module.eval_part.eval()
    x = torch.randn(2, 3, 8, 8)
    module.conv.weight.grad = torch.ones_like(module.conv.weight)
    hooked = module.conv.register_forward_hook(lambda *_: None)
    before, given = copy.deepcopy(module.state_dict()), x.clone()
    tensors = {name: id(tensor) for name, tensor in [*module.named_parameters(), *module.named_buffers()]}
    flags = [each.training for each in module.modules()]
    states = torch.random.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # type: ignore[index, union-attr]

    inputs: dict[str, Any] = {"example_inputs": x} if real else {"input_shape": (3, 8, 8)}
    if fails:
        with pytest.raises(swatcost.SwatcostError, match="on purpose"):
            swatcost.trace(module, **inputs)
    else:
        swatcost.trace(module, **inputs)

    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert tensors == {name: id(tensor) for name, tensor in [*module.named_parameters(), *module.named_buffers()]}
    assert torch.equal(x, given)
    assert torch.equal(module.conv.weight.grad, torch.ones_like(module.conv.weight))
    assert [each.training for each in module.modules()] == flags
    assert torch.equal(torch.random.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert (np.random.get_state()[1] == states[2]).all()  # type: ignore[index]
    assert list(module.conv._forward_hooks) == [hooked.id]
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in (module.bn, module.drop))
    assert not nn.modules.module._global_forward_hooks
    assert not nn.modules.module._global_forward_pre_hooks


class Meddling(nn.Module):
    """Writes to its own parameters and attributes, and runs a module that it does not register."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.embedding = nn.Embedding(5, 3, max_norm=0.1)
        self.norms = [nn.BatchNorm1d(3)]
        self.cache: list[Tensor] = []
        self.register_buffer("ema", torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.linear.weight.clamp_(-1e-9, 1e-9)
        self.linear.bias.requires_grad_(False)
        self.cache.append(x)
        self.extra = x
        self.ema = self.ema + 1
        self.register_buffer("late", x)
        self.linear.register_forward_hook(lambda *_: None)
        x = self.norms[0](self.linear(x) + self.embedding(torch.zeros(len(x), dtype=torch.long, device=x.device)))
        x.sum().backward()
        return x


@pytest.mark.parametrize("real", [False, True])
def test_what_a_forward_pass_changes_is_put_back(real: bool) -> None:
    module = Meddling()
    before = copy.deepcopy({**module.state_dict(), **module.norms[0].state_dict(prefix="norm.")})
    attributes = set(vars(module))
    swatcost.trace(module, **({"example_inputs": torch.randn(4, 3)} if real else {"input_shape": (3,)}))  # type: ignore[arg-type]
    after = {**module.state_dict(), **module.norms[0].state_dict(prefix="norm.")}
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert set(vars(module)) == attributes
    assert module.cache == []
    assert not module.linear._forward_hooks
    assert module.linear.bias.requires_grad
    assert all(parameter.grad is None for parameter in module.parameters())


def test_training_mode_is_set_without_calling_train() -> None:
    class Merging(nn.Linear):
        def train(self, mode: bool = True) -> Merging:
            raise AssertionError("has side effects")

    module = Merging(3, 4)
    module.training = False
    swatcost.trace(module, input_shape=(3,))
    assert not module.training


def test_threads_that_trace_one_module_do_not_disturb_each_other() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    expected = swatcost.trace(module, input_shape=(3,))
    with ThreadPoolExecutor(8) as pool:
        traced = list(pool.map(lambda _: swatcost.trace(module, input_shape=(3,)), range(40)))
    assert all(each == expected for each in traced)
    assert all(tensor.device.type == "cpu" for tensor in module.state_dict().values())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("fails", [False, True])
def test_a_scripted_recurrent_module(kind: type[nn.RNNBase], fails: bool) -> None:
    """It reads its weights from a list of its own: 3 features, 4 hidden ones and as many gates as the kind has."""
    recurrent = torch.jit.script(nn.Sequential(Results(kind(3, 4, batch_first=True)), nn.Linear(4, 6 - fails)))
    module = nn.Sequential(recurrent, nn.Linear(6, 2))
    weights = list(module[0]._modules["0"].part._flat_weights)  # type: ignore[union-attr, operator]
    before = [each.detach().clone() for each in weights]
    given = [torch.ones_like(each) for each in weights]
    for each, gradient in zip(weights, given, strict=True):
        each.grad = gradient
    if fails:
        with pytest.raises(swatcost.SwatcostError):
            swatcost.trace(module, torch.randn(2, 5, 3))
    else:
        network = swatcost.trace(module, torch.randn(2, 5, 3))
        gates = {nn.LSTM: 4, nn.GRU: 3, nn.RNN: 1}[kind]
        found = {each.weight: each.weight_shape for each in network.weight_layers[:2]}
        assert found == {"0.0.part.weight_ih_l0": (gates * 4, 3), "0.0.part.weight_hh_l0": (gates * 4, 4)}
    assert all(a is b for a, b in zip(module[0]._modules["0"].part._flat_weights, weights, strict=True))  # type: ignore[union-attr, operator]
    assert all(torch.equal(a, b) for a, b in zip(weights, before, strict=True))
    assert all(
        each.grad is gradient and bool((gradient == 1).all()) for each, gradient in zip(weights, given, strict=True)
    )


@pytest.mark.parametrize("real", [False, True])
def test_gradients_of_parameters_that_a_module_holds_twice(real: bool) -> None:
    class Held(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3, 4))
            self.held = [self.weight]

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.held[0]

    module = Held()
    module.weight.grad = gradient = torch.ones(3, 4)
    inputs: dict[str, Any] = {"example_inputs": torch.randn(2, 3)} if real else {"input_shape": (3,)}
    swatcost.trace(module, **inputs)
    assert module.weight.grad is gradient
    assert bool((gradient == 1).all())
