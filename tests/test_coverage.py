"""What networks are written with: wrappers, masks, custom functions and operations, inputs and outputs of any form."""

from __future__ import annotations

import collections
import dataclasses
import functools
import warnings
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed._composable import checkpoint as composed
from torch.nn.utils import parametrizations, prune
from torch.utils.checkpoint import (
    checkpoint,
    checkpoint_sequential,
    create_selective_checkpoint_contexts,
    set_checkpoint_early_stop,
)
from torch.utils.flop_counter import FlopCounterMode

import swatcost
from swatcost.network import Network
from swatcost.planning import memory_of

from .cases import Applied, block, pruned


def macs(network: Network, name: str = "forward") -> float:
    costs = swatcost.estimate(network, convention="exact").costs
    return getattr(costs, name).dense * network.batch_size  # type: ignore[no-any-return]


def kinds(network: Network) -> list[tuple[str, str]]:
    return [(layer.kind, layer.name) for layer in network.layers]


@pytest.mark.parametrize(
    ("module", "shape", "kind", "weight"),
    [
        (nn.LayerNorm(8), (5, 8), "layer_norm", (8,)),
        (nn.LayerNorm((5, 8), elementwise_affine=False), (5, 8), "layer_norm", ()),
        (nn.GroupNorm(2, 4), (4, 6), "group_norm", (4,)),
        (nn.InstanceNorm2d(3, affine=True), (3, 5, 5), "instance_norm", (33,)),  # for 11 samples' channels
        (nn.RMSNorm(8), (5, 8), "rms_norm", (8,)),
        (nn.RMSNorm(8, elementwise_affine=False), (5, 8), "rms_norm", ()),
        (nn.BatchNorm1d(4), (4, 6), "batch_norm", (4,)),
    ],
)
def test_normalisations(module: nn.Module, shape: tuple[int, ...], kind: str, weight: tuple[int, ...]) -> None:
    network = swatcost.trace(nn.Sequential(nn.Identity(), module), input_shape=shape)
    (layer,) = network.layers
    assert (layer.kind, layer.name, layer.weight_shape) == (kind, "1", weight)
    assert set(layer.parameters) == {f"1.{name}" for name, _ in module.named_parameters()}
    counted = swatcost.trace(nn.Sequential(nn.Linear(shape[-1], shape[-1]), module), input_shape=shape)
    met = {each.operation: each.places for each in swatcost.estimate(counted).uncounted}
    assert met[kind] == ("1",)


class Mixed(nn.Module):
    """Calls a compiled part, a compiled function and a wrapped part."""

    def __init__(self) -> None:
        super().__init__()
        self.part = torch.compile(nn.Sequential(nn.Linear(6, 7)), backend="eager")
        self.spread = nn.DataParallel(nn.Linear(7, 5))

    def forward(self, x: Tensor) -> Tensor:
        return compiled(self.spread(self.part(x)))


@torch.compile(backend="eager")
def compiled(x: Tensor) -> Tensor:
    return x @ x.t()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_and_wrapped_parts_run_as_they_were_written() -> None:
    network = swatcost.trace(Mixed(), torch.zeros(2, 6))
    assert kinds(network) == [("linear", "part.0"), ("linear", "spread.module"), ("product", "Mixed")]
    assert [parameter.name for parameter in network.parameters[:2]] == ["part.0.weight", "part.0.bias"]
    assert network.weight_layers[0].weight == "part.0.weight"
    whole = swatcost.trace(torch.compile(nn.Linear(6, 7), backend="eager"), torch.zeros(2, 6))
    assert [layer.weight for layer in whole.layers] == ["weight"]


def test_a_pruning_mask_can_be_the_sparsity() -> None:
    module = nn.Sequential(prune.l1_unstructured(nn.Linear(10, 20), "weight", 0.75), nn.ReLU(), nn.Linear(20, 5))
    network = swatcost.trace(module, torch.zeros(2, 10))
    assert [layer.weight for layer in network.layers] == ["0.weight_orig", "2.weight"]
    assert {each.name: each.mask_zeros for each in network.parameters if each.mask_zeros} == {"0.weight_orig": 150}
    estimate = swatcost.estimate(network, distribution="mask", acts=0.5)
    assert [each.sparsity.weight for each in estimate.layers] == [0.75, 0.0]
    assert [each.sparsity.activation for each in estimate.layers] == [0.5, 0.5]
    assert estimate.costs.forward.sparse == 200 * 0.25 + 100
    assert any("--distribution mask" in each for each in swatcost.estimate(network).assumptions)
    with pytest.raises(swatcost.SwatcostError, match="has no pruning masks"):
        swatcost.estimate("resnet18", distribution="mask")
    with pytest.raises(swatcost.SwatcostError, match="leave weights out"):
        swatcost.estimate(network, distribution="mask", weights=0.5)


def test_weights_are_known_through_what_is_done_to_them() -> None:
    def function(self: Any, x: Tensor) -> Tensor:
        y = F.linear(x, (self.w * self.mask).to(torch.bfloat16).float())
        y = torch.einsum("bi,oi->bo", y, self.v.t().contiguous())
        return y @ torch.cat([self.a, self.b], 1)

    module = Applied(
        function,
        {
            "w": nn.Parameter(torch.zeros(4, 3)),
            "v": nn.Parameter(torch.zeros(4, 6)),
            "a": nn.Parameter(torch.zeros(6, 2)),
            "b": nn.Parameter(torch.zeros(6, 3)),
        },
    )
    module.register_buffer("mask", torch.ones(4, 3))
    network = swatcost.trace(module, torch.zeros(2, 3))
    assert [layer.kind for layer in network.layers] == ["linear"] * 3
    assert [layer.weight for layer in network.layers[:2]] == ["w", "v"]
    assert network.layers[2].weight.startswith("(computed in Applied")
    assert set(network.layers[2].parameters) == {"a", "b"}
    spectral = parametrizations.spectral_norm(nn.Linear(5, 4))
    (layer,) = swatcost.trace(spectral, torch.zeros(2, 5)).weight_layers[-1:]
    assert layer.weight_shape == (4, 5)
    assert layer.weight == "parametrizations.weight.original"  # divided by a product, which is a part of it


def test_autocast() -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.w = nn.Conv2d(3, 4, 3), nn.Parameter(torch.zeros(5, 4))

        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                return F.linear(self.conv(x).mean((2, 3)), self.w)

    network = swatcost.trace(Half(), torch.zeros(2, 3, 6, 6))
    assert [(layer.weight, layer.element_bytes) for layer in network.layers] == [("conv.weight", 2), ("w", 2)]
    assert all(layer.weight_trains for layer in network.layers)


class Pair(NamedTuple):
    a: Tensor
    b: Tensor


@dataclasses.dataclass
class Nested:
    deep: dict[str, Any]


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value: Tensor) -> None:
        self.value = value


@pytest.mark.parametrize(
    "wrap",
    [
        lambda y: y,
        lambda y: (y, 3),
        lambda y: {"a": [None, y]},
        lambda y: Pair(y, y.detach()),
        lambda y: Nested({"deeper": Nested({"y": y})}),
        Slotted,
    ],
)
def test_outputs_of_any_structure(wrap: Any) -> None:
    network = swatcost.trace(Applied(lambda self, x: wrap(self.part(x)), {"part": nn.Linear(3, 4)}), torch.zeros(2, 3))
    assert network.layers[0].weight_trains


def test_nothing_to_train_is_said() -> None:
    module = Applied(lambda self, x: self.part(x).argmax(), {"part": nn.Linear(3, 4)})
    network = swatcost.trace(module, torch.zeros(2, 3))
    assert not network.layers[0].weight_trains
    assert any("a training step is a forward pass" in each for each in swatcost.estimate(network).assumptions)


def test_checkpoints_in_checkpoints() -> None:
    def inner(self: Any, x: Tensor) -> Tensor:
        return checkpoint(self.block, x, use_reentrant=False)  # type: ignore[no-any-return]

    part = Applied(inner, {"block": block()})

    def outer(self: Any, x: Tensor) -> Tensor:
        return checkpoint(self.part, self.stem(x), use_reentrant=False).relu()  # type: ignore[no-any-return]

    module = Applied(outer, {"part": nn.Sequential(nn.Linear(6, 6), part), "stem": nn.Linear(6, 6)})
    # the outer one stops at the inner one's input, the inner one before its last layer
    assert macs(swatcost.trace(module, torch.zeros(2, 6)), "recompute") == 2 * 6 * 6 + 2 * 6 * 7
    assert executed_by_torch(module) == macs(swatcost.trace(module, torch.zeros(2, 6)), "training")
    with set_checkpoint_early_stop(False):
        everything = swatcost.trace(module, torch.zeros(2, 6))
        assert executed_by_torch(module) == macs(everything, "training")
    assert macs(everything, "recompute") == 2 * 6 * 6 + 2 * (2 * (2 * 6 * 7))


def executed_by_torch(module: nn.Module) -> float:
    with FlopCounterMode(display=False) as counter:
        module(torch.zeros(2, 6)).sum().backward()
    return counter.get_total_flops() / 2


def test_a_checkpoint_that_needs_no_gradient_runs_once() -> None:
    module = Applied(
        lambda self, x: checkpoint(self.block, x, use_reentrant=True) + self.head(x),
        {"block": block(), "head": nn.Linear(6, 6)},
    )
    network = swatcost.trace(module, torch.zeros(2, 6))  # reentrant, and no input needs a gradient
    assert [layer.weight_trains for layer in network.layers] == [False, False, True]
    assert macs(network, "recompute") == 0


def test_steps_of_a_recurrent_layer_are_one_row_of_the_table() -> None:
    estimate = swatcost.estimate(
        swatcost.trace(nn.LSTM(4, 5).to("meta"), torch.empty(9, 2, 4, device="meta"), batch_size=2)
    )
    from swatcost.report.estimate import layer_table

    rows = layer_table(estimate, "wide").rows
    assert [row[0] for row in rows] == ["LSTM ×9", "LSTM ×9", "(other)", "total"]
    assert len(estimate.layers) == 18


def test_pruned_modules_are_traced_as_they_are() -> None:
    module = pruned(nn.Conv2d(3, 4, 3))
    before = module.weight.clone()
    network = swatcost.trace(module, input_shape=(3, 6, 6))
    assert [(layer.kind, layer.weight) for layer in network.layers] == [("conv", "weight_orig")]
    assert network.parameters[-1].mask_zeros == 4 * 27 / 2
    assert torch.equal(module.weight, before)


def test_experts_are_groups_of_one_weight() -> None:
    module = Applied(lambda self, x: torch.bmm(x, self.w), {"w": nn.Parameter(torch.zeros(3, 8, 5))})
    (layer,) = swatcost.trace(module, torch.zeros(3, 4, 8)).layers
    assert (layer.kind, layer.groups, layer.weight, layer.weight_shape) == ("linear", 3, "w", (15, 8))
    shared = Applied(lambda self, x: torch.bmm(x, self.w.expand(3, -1, -1)), {"w": nn.Parameter(torch.zeros(1, 8, 5))})
    (layer,) = swatcost.trace(shared, torch.zeros(3, 4, 8)).layers
    assert (layer.groups, layer.weight_shape, layer.input_shape) == (1, (5, 8), (3, 4, 8))


def test_frozen_layers_save_no_input_and_select_nothing() -> None:
    module = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 5))
    whole = swatcost.estimate(swatcost.trace(module, input_shape=(6,)), acts=0.5, first_layer="sparse")
    module[0].requires_grad_(False)
    head = swatcost.estimate(swatcost.trace(module, input_shape=(6,)), acts=0.5, first_layer="sparse")
    assert head.topk_seconds == pytest.approx(whole.topk_seconds / 2)  # 6 of 12 activations a sample
    assert head.activation_reduction == whole.activation_reduction == 0.5
    assert (whole.memory.backward_weights.dense, head.memory.backward_weights.dense) == (4 * 66, 4 * 30)


def saved_for_backward(module: nn.Module, *inputs: Tensor) -> tuple[int, set[str]]:
    """The bytes that autograd keeps beside parameters, and the operations in its graph, as torch itself tells."""
    own = {each.untyped_storage().data_ptr() for each in module.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = module(*inputs)
    nodes, seen = [output.grad_fn], set()
    while nodes:
        node = nodes.pop()
        seen.add(node.name())
        nodes += [each for each, _ in node.next_functions if each is not None]
    return sum(size for place, size in kept.items() if place not in own), seen


def relu_scaled(self: Any, x: Tensor) -> Tensor:
    return F.relu(self.first(x)) * self.scale  # type: ignore[no-any-return]


@pytest.mark.parametrize("frozen", [True, False])
def test_an_operation_without_a_gradient_saves_nothing(frozen: bool) -> None:
    """What a frozen layer's ReLU gives is kept by the product behind it, which needs more than a bit per element."""
    module = Applied(relu_scaled, {"first": nn.Linear(6, 6), "scale": nn.Parameter(torch.ones(6))})
    module.first.requires_grad_(not frozen)
    x = torch.randn(8, 6)
    network = swatcost.trace(module, x)
    bytes, nodes = saved_for_backward(module, x)
    result = 8 * 6 * 4  # of ReLU; a layer that trains keeps its input, which is as large
    assert bytes == (result if frozen else 2 * result)
    assert ("ReluBackward0" in nodes) is not frozen
    found = memory_of(network, acts=0.5, batch_size=8, first_layer="sparse").memory
    assert sum(found.dense.saved.values()) == bytes
    kept = next(each for each in found.kept if each.operation != "layer input")
    assert (kept.operation, kept.compressed) == ("mul" if frozen else "relu", result)  # 6 bytes as ReLU's bits


def test_what_runs_without_gradients_saves_nothing() -> None:
    def scaled(self: Any, x: Tensor) -> Tensor:
        with torch.no_grad():
            gate = torch.sigmoid(self.first(x))
        return gate * self.scale  # type: ignore[no-any-return]

    module = Applied(scaled, {"first": nn.Linear(6, 6), "scale": nn.Parameter(torch.ones(6))})
    x = torch.randn(8, 6)
    assert saved_for_backward(module, x) == (8 * 6 * 4, {"MulBackward0", "torch::autograd::AccumulateGrad"})
    assert [each.operation for each in swatcost.trace(module, x).saved_before_loss] == ["mul"]


def test_the_first_layer_is_the_one_that_reads_the_input() -> None:
    lstm = swatcost.trace(nn.LSTM(4, 5).to("meta"), torch.empty(9, 2, 4, device="meta"), batch_size=2)
    assert set(swatcost.estimate(lstm, weights=0.5).plan.kept_dense) == {"weight_ih_l0"}


def test_masks_in_a_checkpoint_are_applied() -> None:
    module = nn.Sequential(prune.l1_unstructured(nn.Linear(10, 20), "weight", 0.75), nn.Linear(20, 5))
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    masked = swatcost.trace(module, torch.zeros(2, 10))
    bare = swatcost.trace(nn.Sequential(nn.Linear(10, 20), nn.Linear(20, 5)), torch.zeros(2, 10))
    for network in (masked, bare):
        estimate = swatcost.estimate(network, distribution="checkpoint", source=state)
        assert [each.sparsity.weight for each in estimate.layers] == [0.75, 0.0]
        assert not any(each.sparsity.activation for each in estimate.layers)


def test_a_layer_without_any_weight_left_is_named() -> None:
    module = nn.Sequential(prune.l1_unstructured(nn.Linear(10, 20), "weight", 1.0), nn.Linear(20, 5))
    network = swatcost.trace(module, torch.zeros(2, 10))
    with pytest.raises(swatcost.SwatcostError, match=r"weight sparsity of 0\.weight_orig is 1"):
        swatcost.estimate(network, distribution="mask")


def two_blocks(function: Any) -> nn.Module:
    """A stem from 6 to 6 features, and two blocks of 6 to 7 to 6, on which the function works."""
    return Applied(lambda self, x: function(self, self.stem(x)), {"stem": nn.Linear(6, 6), "b": block(), "t": block()})


def beside_no_grad(self: Any, h: Tensor) -> Tensor:
    def part(h: Tensor) -> Tensor:
        with torch.no_grad():
            t = self.t(h)
        return self.b(h) * t  # type: ignore[no-any-return]

    return checkpoint(part, h, use_reentrant=False)  # type: ignore[no-any-return]


def selective(self: Any, h: Tensor) -> Tensor:
    kept = functools.partial(create_selective_checkpoint_contexts, [torch.ops.aten.addmm.default])
    return checkpoint(self.b, h, use_reentrant=False, context_fn=kept)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "function",
    [
        selective,
        beside_no_grad,
        lambda self, h: (checkpoint(self.b, h, use_reentrant=True), self.t(h))[1],
        lambda self, h: checkpoint(self.b, h, use_reentrant=False).detach() + self.t(h),
        lambda self, h: checkpoint_sequential(nn.Sequential(*self.b, *self.t), 2, h, use_reentrant=False),
        lambda self, h: checkpoint(self.b, checkpoint(self.t, h, use_reentrant=True), use_reentrant=False),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_checkpoints_of_all_kinds_equal_torchs_counter(function: Any, device: str) -> None:
    module = two_blocks(function)
    expected = executed_by_torch(module)
    assert macs(swatcost.trace(module.to(device), torch.zeros(2, 6, device=device)), "training") == expected


def test_a_checkpointed_normalisation_is_seen_once() -> None:
    module = Applied(
        lambda self, x: checkpoint(self.part, self.stem(x), use_reentrant=False),
        {"stem": nn.Linear(6, 6), "part": nn.Sequential(nn.RMSNorm(6), nn.LayerNorm(6), nn.Linear(6, 6), nn.ReLU())},
    )
    network = swatcost.trace(module, input_shape=(6,))
    assert [kind for kind, _ in kinds(network)] == ["linear", "rms_norm", "layer_norm", "linear"]


def test_a_composed_checkpoint_is_followed() -> None:
    module = two_blocks(lambda self, h: self.b(h))
    composed(module.b)
    expected = executed_by_torch(module)
    assert macs(swatcost.trace(module, torch.zeros(2, 6)), "training") == expected


class Hypernetwork(nn.Module):
    """A kernel for each sample, computed from it."""

    def __init__(self) -> None:
        super().__init__()
        self.make = nn.Linear(3, 108)

    def forward(self, x: Tensor) -> Tensor:
        kernels = self.make(x.mean((2, 3))).view(-1, 3, 3, 3)
        return F.conv2d(x.reshape(1, -1, 6, 6), kernels, groups=x.shape[0])


def test_a_convolution_of_activations_is_not_a_weight_layer() -> None:
    network = swatcost.trace(Hypernetwork(), input_shape=(3, 6, 6))
    assert network.weight_elements == 3 * 108
    estimate = swatcost.estimate(network, weights=0.9, acts=0.9, first_layer="sparse", convention="exact")
    (conv,) = (each for each in estimate.layers if each.layer.kind == "custom")
    work = 4 * 27 * 16  # 4 filters of 3 × 3 × 3 at 4 × 4 positions, for each sample
    assert (conv.costs.forward.dense, conv.costs.forward.sparse) == (work, work)
    assert conv.costs.grad_input.dense == work  # the kernel's gradient; the image needs none


@pytest.mark.parametrize(
    "wrap", [lambda y: collections.deque([y]), lambda y: {"a": y}.values(), lambda y: {y: 1}, lambda y: Inherits(y)]
)
def test_outputs_in_odd_containers(wrap: Any) -> None:
    network = swatcost.trace(Applied(lambda self, x: wrap(self.part(x)), {"part": nn.Linear(3, 4)}), torch.zeros(2, 3))
    assert network.layers[0].weight_trains


class Inherits(Slotted):
    __slots__ = ("name",)


@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_a_product_of_sparse_tensors_is_announced() -> None:
    def function(self: Any, x: Tensor) -> Tensor:
        return torch.sparse.mm(self.part(x).relu().to_sparse(), self.w.to_sparse()).to_dense()

    module = Applied(function, {"part": nn.Linear(3, 3), "w": nn.Parameter(torch.zeros(3, 4))})
    network = swatcost.trace(module, torch.ones(2, 3))
    listed = [each.operation for each in network.uncounted if each.products]
    assert listed == ["sparse _sparse_sparse_matmul", "backward of SparseSparseMatmul"]


def test_a_scripted_part() -> None:
    with warnings.catch_warnings(action="ignore"):
        scripted = torch.jit.script(nn.Sequential(nn.Linear(6, 5), nn.ReLU()))
    network = swatcost.trace(nn.Sequential(nn.Linear(6, 6), scripted), torch.zeros(2, 6))
    assert [layer.weight for layer in network.layers] == ["0.weight", "1.0.weight"]


def test_a_module_that_exits_is_a_failure() -> None:
    def function(self: Any, x: Tensor) -> Tensor:
        raise SystemExit(7)

    with pytest.raises(swatcost.SwatcostError, match="samples of 6"):
        swatcost.trace(Applied(function, {"part": nn.Linear(6, 5)}), torch.zeros(2, 6))
