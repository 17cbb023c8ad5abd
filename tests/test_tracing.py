"""Tracing: what is seen of a module, and that the module does not notice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import swatcost
from swatcost.network import Network
from swatcost.network.layer import Layer


def layers(network: Network) -> dict[str, Layer]:
    return {layer.name: layer for layer in network.layers}


class Branching(nn.Module):
    """Calls a layer three times, another not at all, and one through a list that torch does not register."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.never = nn.Conv2d(4, 4, 3)
        self.inner = nn.ModuleDict({"head": nn.Sequential(nn.Flatten(), nn.Linear(4 * 36, 7, bias=False))})

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = self.conv(x)
        return self.inner["head"](x)


def test_order_names_and_calls() -> None:
    network = swatcost.trace(Branching(), input_shape=(4, 6, 6))
    assert [layer.name for layer in network.layers] == ["conv", "conv", "conv", "inner.head.1"]
    # The first call sees the network's input, the later ones what a trained layer gave.
    assert [layer.input_needs_grad for layer in network.layers] == [False, True, True, True]
    assert network.parameter_elements == 2 * (4 * 4 * 9 + 4) + 7 * 144  # `never` has parameters all the same
    assert network.weight_elements == 4 * 4 * 9 + 7 * 144  # the weight that is called three times counts once


@pytest.mark.parametrize(
    ("module", "shape", "weight", "output"),
    [
        (nn.Conv1d(6, 9, 5, stride=2, padding=3, dilation=2, groups=3), (6, 40), (9, 2, 5), (9, 19)),
        (nn.Conv2d(4, 8, (3, 1), stride=(2, 1)), (4, 9, 5), (8, 4, 3, 1), (8, 4, 5)),
        (nn.Conv2d(4, 8, 3, padding="same"), (4, 9, 5), (8, 4, 3, 3), (8, 9, 5)),
        (nn.Conv3d(2, 4, 2, groups=2), (2, 3, 4, 5), (4, 1, 2, 2, 2), (4, 2, 3, 4)),
        (nn.Linear(5, 3), (5,), (3, 5), (3,)),
        (nn.Linear(5, 3, bias=False), (7, 11, 5), (3, 5), (7, 11, 3)),
        (nn.BatchNorm1d(5), (5,), (5,), (5,)),
        (nn.BatchNorm2d(5, affine=False), (5, 4, 4), (), (5, 4, 4)),
    ],
)
def test_shapes(module: nn.Module, shape: tuple[int, ...], weight: tuple[int, ...], output: tuple[int, ...]) -> None:
    network = swatcost.trace(nn.Sequential(module), input_shape=shape)
    (layer,) = network.layers
    assert layer.name == "0"
    assert network.sample_shape(layer.input_shape) == shape
    assert network.sample_shape(layer.output_shape) == output
    assert layer.weight_shape == weight
    assert set(layer.parameters) == {f"0.{name}" for name, _ in module.named_parameters()}


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.zeros(6, 3, 3, 3))
        self.matrix = nn.Parameter(torch.zeros(6, 5))

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.kernel, stride=2)
        return x.mean((2, 3)) @ self.matrix


def test_functional_calls_belong_to_the_module_that_made_them() -> None:
    conv, matrix = swatcost.trace(Functional(), input_shape=(3, 9, 9)).layers
    assert (conv.name, conv.kind, conv.weight) == ("Functional", "conv", "kernel")
    assert (matrix.name, matrix.kind, matrix.weight, matrix.weight_shape) == ("Functional", "linear", "matrix", (5, 6))


@pytest.mark.parametrize("make", [Branching, lambda: nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))])
def test_meta_and_real_tensors_agree(make: Callable[[], nn.Module]) -> None:
    shape = (5, 4, 6, 6) if make is Branching else (5, 3)
    on_meta = swatcost.trace(make().to("meta"), torch.empty(shape, device="meta"), name="n")
    real = swatcost.trace(make(), torch.randn(shape), name="n")
    assert on_meta.amp is not None
    assert replace(on_meta, amp=None) == real  # what is run for real is not run again under autocast


def test_frozen_parameters_and_inputs_that_need_gradients() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5), nn.Linear(5, 6)).requires_grad_(False)
    module[1].weight.requires_grad_(True)
    first, second, third = swatcost.trace(module, input_shape=(3,)).layers
    assert (first.input_needs_grad, second.input_needs_grad, third.input_needs_grad) == (False, False, True)
    assert (first.weight_trains, second.weight_trains, third.weight_trains) == (False, True, False)
    (first, *_) = swatcost.trace(module, torch.randn(2, 3, requires_grad=True)).layers
    assert first.input_needs_grad


class UnderNoGrad(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = nn.Linear(3, 4), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = self.backbone(x)
        return self.head(x)


def test_no_grad_inside_the_module_is_respected_and_outside_is_not() -> None:
    with torch.no_grad():
        backbone, head = swatcost.trace(UnderNoGrad(), input_shape=(3,)).layers
    assert (backbone.weight_trains, head.input_needs_grad, head.weight_trains) == (False, False, True)
    with torch.inference_mode():
        assert swatcost.trace(UnderNoGrad(), input_shape=(3,)).layers == (backbone, head)


def test_a_frozen_batch_norm_stays_in_evaluation_mode() -> None:
    module = nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(3)).train()
    module[0].eval()
    network = swatcost.trace(module, torch.randn(5, 3))
    kept = {
        name: sum(network.storages[each.storage].bytes for each in network.saved if each.held_by == name)
        for name in ("0", "1")
    }
    # Both keep their input; running statistics are buffers, batch statistics are tensors that autograd keeps.
    assert kept == {"0": 5 * 3 * 4, "1": 5 * 3 * 4 + 2 * 3 * 4}


class ReadsValues(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.scale = [torch.ones(3)]  # no buffer, so it stays where it is

    def forward(self, x: Tensor) -> Tensor:
        x = x * self.scale[0]
        return self.linear(x) if x.sum().item() >= 0 else x


def test_what_cannot_run_on_meta_runs_for_real() -> None:
    assert [layer.name for layer in swatcost.trace(ReadsValues(), input_shape=(3,)).layers] == ["linear"]


@pytest.mark.parametrize("what", [nn.Linear, "resnet50", None])
def test_only_modules_are_traced(what: Any) -> None:
    with pytest.raises(swatcost.SwatcostError, match="is not a torch module"):
        swatcost.trace(what, input_shape=(3,))


def test_a_module_is_not_a_name() -> None:
    with pytest.raises(swatcost.SwatcostError, match="trace it first"):
        swatcost.estimate(nn.Linear(3, 4))


def test_several_inputs() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 4), nn.Linear(5, 4)

        def forward(self, left: Tensor, right: Tensor) -> dict[str, Tensor]:
            return {"sum": self.a(left) + self.b(right)}

    left, right = torch.zeros(6, 3), torch.zeros(6, 5)
    by_position = swatcost.trace(Two(), (left, right))
    by_name = swatcost.trace(Two(), {"left": left, "right": right})
    assert by_position == by_name
    assert by_position.batch_size == 6
    assert by_position.input_shapes == ((6, 3), (6, 5))


def test_what_is_seen_but_not_counted_is_listed() -> None:
    class Attention(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.softmax(x @ x.transpose(1, 2), -1) @ x

    network = swatcost.trace(nn.Sequential(nn.Linear(4, 4), Attention()), input_shape=(5, 4))
    met = {each.operation: (each.products, each.calls, each.places) for each in network.uncounted}
    assert met == {"_softmax": (False, 1, ("1",))}
    assert [(layer.kind, layer.name) for layer in network.counted_layers] == [
        ("linear", "0"),
        ("product", "1"),
        ("product", "1"),
    ]
    unknown = swatcost.trace(Inverse(), torch.eye(4).expand(2, 4, 4))
    assert [(each.operation, each.products) for each in unknown.uncounted] == [("add", False), ("linalg_inv_ex", True)]
    both = swatcost.trace(nn.Sequential(nn.Linear(4, 4), Inverse()), torch.eye(4).expand(2, 4, 4))
    assert swatcost.estimate(both).assumptions[0].startswith("TOO LOW: these operations may multiply tensors")


class Inverse(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.inv(x + torch.eye(4))


def test_a_weight_that_is_computed_is_still_a_layer() -> None:
    module = nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)),
        nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 2, 1)),
    )
    for part, shape in zip(module, [(3,), (2, 4, 4)], strict=True):
        (layer,) = swatcost.trace(part, input_shape=shape).weight_layers
        assert layer.weight == "parametrizations.weight.original1"  # the direction; original0 is the magnitude
        assert layer.weight_trains


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either example_inputs or input_shape"),
        ({"example_inputs": torch.zeros(1, 3), "input_shape": (3,)}, "either example_inputs or input_shape"),
        ({"example_inputs": [1, 2]}, "contain no tensor"),
        ({"example_inputs": torch.zeros(0, 3)}, "contain no sample"),
        ({"input_shape": (3, -1)}, "positive whole numbers"),
        ({"input_shape": (3, 2.5)}, "positive whole numbers"),
        ({"input_shape": "3"}, "positive whole numbers"),
        ({"input_shape": 2.5}, "positive whole numbers"),
        ({"input_shape": (3, 10**12, 10**12)}, "too large for a tensor"),
        ({"input_shape": (3,), "batch_size": 0}, "batch_size 0"),
        ({"example_inputs": torch.zeros(4, 3), "batch_size": 5}, "batch_size 5: no dimension"),
    ],
)
def test_unusable_input(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(swatcost.SwatcostError, match=message):
        swatcost.trace(nn.Linear(3, 4), **arguments)


def test_the_failing_layer_is_named() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.Conv2d(5, 6, 3)))
    with pytest.raises(swatcost.SwatcostError) as failure:
        swatcost.trace(module, input_shape=(3, 8, 8))
    assert "samples of 3×8×8" in str(failure.value)
    assert "1.0 (Conv2d) was given 11×4×6×6" in str(failure.value)
    assert "\n" not in str(failure.value)


def test_an_exception_that_the_module_handles_is_not_a_failure() -> None:
    class Careful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wrong, self.right = nn.Linear(9, 9), nn.Linear(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            try:
                return self.wrong(x)
            except RuntimeError:
                return self.right(x)

    assert [layer.name for layer in swatcost.trace(Careful(), input_shape=(3,)).layers] == ["right"]


def test_lazy_parameters_are_named() -> None:
    with pytest.raises(swatcost.SwatcostError, match="weight has no shape yet"):
        swatcost.trace(nn.LazyLinear(3), input_shape=(3,))


def forward_macs(network: Network) -> float:
    return swatcost.estimate(network, convention="exact").costs.forward.dense


class Pooled(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.mean(1))


def test_rows_are_those_that_the_operation_saw() -> None:
    x = torch.zeros(4, 6, 8)
    assert forward_macs(swatcost.trace(Pooled(8, 5), x)) == 8 * 5
    hooked = nn.Linear(8, 5)
    hooked.register_forward_pre_hook(lambda _, args: (args[0][:, :2],))
    assert forward_macs(swatcost.trace(hooked, x)) == 2 * 8 * 5
    assert forward_macs(swatcost.trace(nn.Linear(8, 5), x)) == 6 * 8 * 5


class Experts(nn.Module):
    """Sends an odd number of rows to each of two experts, and none to a third."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(8, 10) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.experts[0](x[:3]), self.experts[1](x[3:]), self.experts[2](x[:0])])


def test_a_mixture_of_experts_costs_what_its_rows_cost() -> None:
    network = swatcost.trace(Experts(), input_shape=(8,))
    assert forward_macs(network) == pytest.approx(8 * 10, rel=1e-12)
    assert [layer.images for layer in network.layers] == [3, 8]


class Slices(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(6, 8))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.w[:2]) + F.linear(x, self.w[2:4]) + F.linear(x, self.w[:2])


def test_a_part_of_a_parameter_is_a_weight_of_its_own() -> None:
    network = swatcost.trace(Slices(), torch.zeros(4, 8))
    assert [layer.weight for layer in network.layers] == ["w[0:16]", "w[16:32]", "w[0:16]"]
    assert network.weight_elements == 4 * 8


class TwoComputed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.zeros(4, 3, 3, 3)), nn.Parameter(torch.zeros(7, 4, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(x, self.a * 2), self.b * 2)


def test_two_computed_weights_of_one_module_are_two() -> None:
    network = swatcost.trace(TwoComputed(), input_shape=(3, 8, 8))
    assert network.weight_elements == 4 * 27 + 7 * 36
    assert swatcost.estimate(network, weights=0.5).non_zero_weights == 4 * 27 + 7 * 36 / 2


@pytest.mark.parametrize(
    ("module", "inputs"),
    [
        (nn.MultiheadAttention(8, 2, batch_first=True), (torch.randn(4, 6, 8),) * 3),
        (nn.TransformerDecoderLayer(8, 2, 16, batch_first=True), (torch.randn(4, 6, 8),) * 2),
        (nn.LSTM(8, 5, batch_first=True), (torch.randn(4, 6, 8),)),
        (nn.DataParallel(nn.Linear(8, 5)), (torch.randn(4, 8),)),
        (nn.InstanceNorm2d(3, affine=True), (torch.randn(4, 3, 5, 5),)),
    ],
)
def test_other_networks_are_traced_too(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    network = swatcost.trace(module, inputs)
    assert network.layers or network.uncounted
    assert Network(**{name: getattr(network, name) for name in network.__dataclass_fields__}) == network


class Flattened(nn.Module):
    """Saves one storage through tensors of different dimensions."""

    def forward(self, x: Tensor) -> Tensor:
        y = x.exp()
        return y.view(-1).pow(2).sum() + y.pow(3).sum()


def test_views_of_one_storage_agree_on_its_size() -> None:
    network = swatcost.trace(nn.Sequential(nn.Linear(8, 8), Flattened()), torch.randn(4, 8))
    kept = {each.storage for each in network.saved}  # what the layer reads, and y, which three operations keep
    assert [network.storages[each].bytes for each in sorted(kept)] == [4 * 8 * 4] * 2


def test_a_tensor_passed_twice_is_one_storage() -> None:
    class Same(nn.Module):
        def forward(self, q: Tensor, k: Tensor) -> Tensor:
            assert q is k
            return q * k

    x = torch.randn(4, 8, requires_grad=True)
    network = swatcost.trace(Same(), (x, x))
    assert len({saved.storage for saved in network.saved_before_loss}) == 1


def test_sparse_parameters_are_refused() -> None:
    module = nn.Linear(3, 4)
    module.weight = nn.Parameter(torch.eye(4, 3).to_sparse())
    with pytest.raises(swatcost.SwatcostError, match=r"weight has layout torch\.sparse_coo"):
        swatcost.trace(module, input_shape=(3,))


def test_scalar_inputs_can_be_shown() -> None:
    class Scaled(nn.Linear):
        def forward(self, x: Tensor, scale: Tensor | float = 1) -> Tensor:
            return super().forward(x * scale)

    network = swatcost.trace(Scaled(3, 4), (torch.randn(2, 3), torch.tensor(0.5)))
    assert repr(swatcost.estimate(network))
