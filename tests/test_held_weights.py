"""Bytes that a step holds for weights: by hand, and those of training that really runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import swatcost
from swatcost.memory.dense_step import training_memory
from swatcost.memory.held_weights import held_weights
from swatcost.memory.sparse_step import SparseMemory, sparse_memory
from swatcost.memory.weight_storage import WeightStorage
from swatcost.methods import METHODS
from swatcost.network import Accumulation
from swatcost.planning import memory_of
from swatcost.planning.capacity import largest_batch

from .by_hand import chain, fork, plan_of
from .measured import tracked_peak
from .test_memory import saved_bytes
from .test_peak import made
from .test_slope_memory import SLOPE

# Four layers of 8, 64, 64, 64 and 4 features; two samples with momentum; a quarter of the last three weights active.
FEATURES = (8, 64, 64, 64, 4)
WEIGHTS = (512, 4096, 4096, 256)


def quarter(method: str, **how: Any) -> SparseMemory:
    network = chain(*FEATURES)
    step = training_memory(network, batch_size=2, **how)
    plan = plan_of(network, [0.0, *[(0.75, 0.0)] * 3], method=method)
    return sparse_memory(network, plan, step)


def test_rigl_by_hand() -> None:
    memory = quarter("rigl")
    dense, active = sum(WEIGHTS), 512 + 1024 + 1024 + 64
    masked = dense - 512
    assert memory.naive_weights.parts == {
        "parameters": 4 * dense, "master weights": 0, "indices": 0, "weight copies": 4 * masked, "masks": masked,
        "gradients": 4 * dense, "optimizer state": 4 * dense,
    }  # fmt: skip
    # one bitmap for parameters, gradients and momentum: 512 + 512 + 32 bytes
    assert memory.compressed_weights.parts == {
        "parameters": 4 * active, "master weights": 0, "indices": masked // 8, "weight copies": 0, "masks": 0,
        "gradients": 4 * active, "optimizer state": 4 * active,
    }  # fmt: skip
    # the most is held when the first weight's gradient appears: x (64 bytes), the output (32), the gradient of the
    # first layer's output (512), and the gradients of all weights
    assert memory.dense.peak.bytes == 3 * 4 * dense + 64 + 32 + 512
    assert memory.naive_peak == memory.dense.peak.bytes + masked + 4 * masked  # masks and masked copies
    assert memory.compressed_peak == 3 * 4 * active + masked // 8 + 64 + 32 + 512
    # a step that finds weights to regrow holds every gradient
    assert memory.dense_gradient_peak == 2 * 4 * active + masked // 8 + 4 * dense + 64 + 32 + 512


def test_steps_with_dense_gradients() -> None:
    """SET regrows at random; SNFS has dense gradients in every step."""
    for method in ("set", "dsr", "pruning", "snfs", "swat", "dense"):
        assert quarter(method).dense_gradient_peak is None
    snfs = quarter("snfs")
    assert snfs.compressed_weights.parts["gradients"] == snfs.compressed_weights.parts["optimizer state"] == 4 * 8960
    assert snfs.compressed_weights.parts["parameters"] == 4 * 2624
    assert quarter("rigl", weight_storage="gradients=all").dense_gradient_peak is None


def test_the_peak_moves_when_gradients_are_small() -> None:
    """Dense, the most is held at the end of the backward pass; with 1 % of the gradients, where it begins."""
    network = chain(*FEATURES)
    step = training_memory(network, batch_size=16, optimizer="sgd")
    plan = plan_of(network, [(0.99, 0.0)] * 4, method="set")
    memory = sparse_memory(network, plan, step)
    # x, the output and three results of 16 · 64 · 4 = 4096 bytes; dense, when the second weight's gradient appears: x,
    # the output, the first result, the gradient of the second, and those of all weights but the first
    assert step.peak.bytes == 4 * 8960 + 512 + 256 + 4096 + 4096 + 4 * (8960 - 512)
    # the last weight's gradient (4 · 2.56 bytes), then that of the third result beside all three
    weights = memory.compressed_weights.total - memory.compressed_weights.parts["gradients"]
    assert memory.compressed_peak == weights + 512 + 3 * 4096 + 256 + round(4 * 2.56) + 4096


def test_adam_works_on_active_elements() -> None:
    """Two temporaries of the parameter updated, and one of the parameter before: of 1024 elements each."""
    memory = quarter("set", optimizer="adam", update="loop", precision="mixed")
    weights = memory.compressed_weights
    active = 2624
    assert weights.parts == {
        "parameters": 2 * active, "master weights": 4 * active, "indices": 8448 // 8, "weight copies": 0, "masks": 0,
        "gradients": 2 * active, "optimizer state": 8 * active,
    }  # fmt: skip
    assert weights.at_update == weights.total + (64 + 32) // 2 + 4 * 3 * 1024
    assert memory.compressed_peak == weights.at_update


def test_active_weights_are_updated_in_the_backward_pass() -> None:
    """Each gradient is freed after its update, which has one temporary of its size."""
    network = chain(*FEATURES)
    accumulations = tuple(
        Accumulation(parameter=number, storage=storage, event=network.timeline.events.index(storage + 1) + 1)
        for number, storage in enumerate(network.timeline.gradients)
    )
    network = replace(network, timeline=replace(network.timeline, accumulations=accumulations))
    plan = plan_of(network, [0.0, *[(0.75, 0.0)] * 3], method="rigl")
    memory = sparse_memory(
        network, plan, training_memory(network, batch_size=2, optimizer="adam", update_in_backward=True)
    )
    # the most is held at the third weight: x, the output, two results and the gradient of its own, 2 · 64 · 4 each
    activations = 64 + 32 + 3 * 512
    assert memory.dense.peak.bytes == 3 * 4 * sum(WEIGHTS) + activations + 2 * 4 * 4096
    assert memory.compressed_peak == 3 * 4 * 2624 + 8448 // 8 + activations + 2 * 4 * 1024


def test_slope_in_a_step_keeps_its_transpose() -> None:
    """A copy beside compressed parameters stays between steps; one of dense parameters is saved for backward."""
    network = chain(*FEATURES)
    plan = plan_of(network, [0.0, *[(0.5, 0.0)] * 3], method="set", distribution="nm", pattern=(2, 4))
    step = training_memory(network, batch_size=2, weight_storage="transposes=1,mask_bits=8")
    memory = sparse_memory(network, plan, step)
    weights = memory.compressed_weights
    assert weights.storage == SLOPE
    copies = 8448 * 4 // 2 + 8448 // 8  # 2:4 in fp32
    assert (weights.parts["weight copies"], weights.parts["masks"], weights.saved_copies) == (copies, 8448, 0)
    assert weights.total == 4 * 3 * (512 + 8448 // 2) + 8448 // 8 + copies + 8448
    assert weights.at_update == weights.total + 64 + 32
    fst = sparse_memory(network, replace(plan, method=METHODS["swat"]), replace(
        step, execution=replace(step.execution, weight_storage=(("transposes", 1),))))  # fmt: skip
    assert fst.compressed_weights.saved_copies == 2 * copies
    assert fst.compressed_weights.at_update == 4 * 3 * 8960 + 64 + 32


def test_master_weights_are_of_the_weights_that_are_updated() -> None:
    """SNFS: 2-byte parameters with a 4-byte master copy, of active weights; gradients and both moments of all."""
    parts = quarter("snfs", optimizer="adam", precision="mixed").compressed_weights.parts
    assert (parts["parameters"], parts["master weights"]) == (2 * 2624, 4 * 2624)
    assert (parts["gradients"], parts["optimizer state"]) == (2 * 8960, 8 * 8960)


def test_a_frozen_weight_has_no_gradient_and_no_state() -> None:
    """c of the fork is frozen and 16 of its 64 elements are active: a bitmap of 8 bytes and 16 values."""
    network = fork(frozen=True)
    plan = plan_of(network, [(0.0, 0.0), (0.0, 0.0), (0.75, 0.0)], method="set")
    parts = sparse_memory(network, plan, training_memory(network)).compressed_weights.parts
    assert (parts["parameters"], parts["indices"]) == (4 * (128 + 64 + 16), 8)
    assert parts["gradients"] == parts["optimizer state"] == 4 * (128 + 64)
    mixed = sparse_memory(network, plan, training_memory(network, precision="mixed")).compressed_weights.parts
    assert mixed["master weights"] == 4 * (128 + 64)


def test_weights_of_a_network_in_half_precision() -> None:
    """Values of 2 bytes, also in a step in single precision, and so are those of the optimizer's state."""
    module = nn.Sequential(nn.Linear(64, 32, bias=False), nn.ReLU(), nn.Linear(32, 16, bias=False)).bfloat16()
    asked: dict[str, Any] = {"weights": 0.75, "first_layer": "sparse"}
    network = swatcost.trace(module, input_shape=(64,))
    swat = memory_of(network, acts=0.0, **asked).memory  # nothing reads the first weight in the backward pass
    assert swat.naive_weights.parts["weight copies"] == 2 * (64 * 32 + 32 * 16)
    assert swat.compressed_weights.parts["weight copies"] == 32 * 16 // 8 + 2 * 32 * 16 // 4
    parts = memory_of(network, method="set", **asked).memory.compressed_weights.parts
    assert parts["parameters"] == parts["gradients"] == 2 * 2560 // 4
    assert (parts["indices"], parts["optimizer state"]) == (2560 // 8, 2 * 2560 // 4)


class Computed(nn.Module):
    """Weights of 50 × 300: a product of parameters, one joined from two, and a parameter."""

    def __init__(self) -> None:
        super().__init__()
        shapes = {"u": (50, 4), "v": (4, 300), "p": (20, 300), "q": (30, 300), "w": (50, 300)}
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.zeros(shape)))

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.linear(x @ (self.u @ self.v), torch.cat([self.p, self.q]))  # type: ignore[operator,list-item]
        return x @ self.w  # type: ignore[operator]


def test_weights_that_are_computed_keep_their_parameters() -> None:
    """Only w is stored as its 3,750 active elements, with a bitmap."""
    network = swatcost.trace(Computed(), input_shape=(50,))
    memory = memory_of(network, method="set", weights=0.75, first_layer="sparse").memory
    elements = 50 * 4 + 4 * 300 + 50 * 300 + 3750
    assert memory.compressed_weights.parts == {
        "parameters": 4 * elements, "master weights": 0, "indices": 15_000 // 8, "weight copies": 0, "masks": 0,
        "gradients": 4 * elements, "optimizer state": 4 * elements,
    }  # fmt: skip


class Active(torch.autograd.Function):
    """A linear layer that keeps its active weights and a bitmap, and computes gradients of those alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, values: Tensor, bitmap: Tensor, mask: Tensor) -> Tensor:
        ctx.save_for_backward(x, values, bitmap)
        ctx.mask = mask
        return x @ torch.zeros(mask.shape).masked_scatter(mask, values).t()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, values, _ = ctx.saved_tensors
        weight = torch.zeros(ctx.mask.shape).masked_scatter(ctx.mask, values)
        return grads[0] @ weight, (grads[0].t() @ x)[ctx.mask], None, None


class ActiveLinear(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.mask = (torch.arange(inputs * outputs) % 4 == 0).reshape(outputs, inputs)  # kept as a bitmap
        self.values = nn.Parameter(torch.randn(int(self.mask.sum())))
        self.register_buffer("bitmap", torch.zeros(inputs * outputs // 8, dtype=torch.uint8))

    def forward(self, x: Tensor) -> Tensor:
        return Active.apply(x, self.values, self.bitmap, self.mask)  # type: ignore[no-any-return]


class Masked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, mask: Tensor) -> Tensor:
        masked = weight * mask
        ctx.save_for_backward(x, masked)
        ctx.mask = mask
        return x @ masked.t()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        x, masked = ctx.saved_tensors
        return grads[0] @ masked, grads[0].t() @ x * ctx.mask, None


class MaskedLinear(nn.Linear):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)
        self.register_buffer("mask", (torch.arange(inputs * outputs) % 4 == 0).reshape(outputs, inputs))

    def forward(self, x: Tensor) -> Tensor:
        return Masked.apply(x, self.weight, self.mask)  # type: ignore[no-any-return]


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
    "adam": torch.optim.Adam,
}


def network_of(linear: Callable[[int, int], nn.Module]) -> nn.Module:
    return nn.Sequential(linear(32, 64), nn.LayerNorm(64), linear(64, 16))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_that_runs_holds_these_bytes(optimizer: str) -> None:
    """Parameters, bitmaps or masks, gradients and optimizer state after one step of torch, and what autograd saves."""
    traced = swatcost.trace(network_of(lambda *sizes: nn.Linear(*sizes, bias=False)), input_shape=(32,))
    asked: dict[str, Any] = {"method": "set", "weights": 0.75, "first_layer": "sparse", "batch_size": 4}
    memory = memory_of(traced, **asked, optimizer=optimizer).memory
    for linear, weights, saved in (
        (ActiveLinear, memory.compressed_weights, None),
        (MaskedLinear, memory.naive_weights, memory.naive - memory.dense.loss),
    ):
        module, x = network_of(linear), torch.randn(4, 32)
        updates = OPTIMIZERS[optimizer](module.parameters())
        module(x).sum().backward()
        updates.step()
        parameters = [*module.parameters()]
        held = sum(each.nbytes for each in [*parameters, *module.buffers()])
        held += sum(each.grad.nbytes for each in parameters if each.grad is not None)
        state = [each for states in updates.state.values() for name, each in states.items() if name != "step"]
        held += sum(each.nbytes for each in state)
        assert weights.total - weights.saved_copies == held
        assert saved is None or saved == saved_bytes(module, x)


class Kernel(torch.autograd.Function):
    """What a sparse kernel of a linear layer allocates: its result, and gradients of input and active weights."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, values: Tensor, outputs: int, *beside: Tensor) -> Tensor:
        ctx.save_for_backward(x, values, *beside)
        return x.new_empty(x.shape[0], outputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, values, *beside = ctx.saved_tensors
        of_input = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        return of_input, torch.empty_like(values), None, *(None for _ in beside)


class KernelLinear(nn.Module):
    """Half of the weights are active, in 2:4; with `slope`, a 2:4 transpose and booleans for a mask beside them."""

    def __init__(self, inputs: int, outputs: int, slope: bool = False) -> None:
        super().__init__()
        elements, self.outputs = inputs * outputs, outputs
        self.values = nn.Parameter(torch.zeros(elements // 2))
        beside = {"positions": torch.zeros(elements // 8, dtype=torch.uint8)}
        if slope and inputs != 64:  # nothing reads the first layer's transpose
            beside |= {"transpose": torch.zeros(elements // 2), "its_positions": beside["positions"].clone()}
        if slope:
            beside |= {"mask": torch.zeros(outputs, inputs, dtype=torch.bool)}
        for name, buffer in beside.items():
            self.register_buffer(name, buffer)

    def forward(self, x: Tensor) -> Tensor:
        return Kernel.apply(x, self.values, self.outputs, *self.buffers())  # type: ignore[no-any-return]


@pytest.mark.parametrize("batch", [1, 7, 1000])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("storage", [None, "transposes=1,mask_bits=8"])
def test_the_compressed_peak_is_torchs_to_the_byte(storage: str | None, optimizer: str, batch: int) -> None:
    """Of a step that really holds so little, by torch's own tracker."""

    def build(linear: Callable[[int, int], nn.Module]) -> nn.Module:
        return nn.Sequential(
            linear(64, 128), nn.Tanh(), linear(128, 256), nn.LayerNorm(256), nn.Tanh(), linear(256, 32)
        )

    traced = swatcost.trace(build(lambda *sizes: nn.Linear(*sizes, bias=False)), input_shape=(64,))
    memory = memory_of(
        traced, method="set", distribution="nm", source="2:4", first_layer="sparse", batch_size=batch,
        optimizer=optimizer, update="loop", weight_storage=storage,
    ).memory  # fmt: skip
    step = made(lambda: build(lambda *sizes: KernelLinear(*sizes, slope=storage is not None)), torch.empty(64), batch)
    tracked = tracked_peak(step, optimizer, "cross-entropy")
    assert memory.compressed_peak == tracked


def test_more_samples_fit_when_weights_are_compressed() -> None:
    """The room for samples grows by what weights no longer take."""
    network = swatcost.load("cifar_vgg16")
    plan = swatcost.estimate(network, method="set", weights=0.9).plan

    def memory_at(samples: int) -> SparseMemory:
        return sparse_memory(network, plan, training_memory(network, batch_size=samples, optimizer="adam"))

    dense = largest_batch(lambda samples: memory_at(samples).dense.peak.bytes, 10**9)
    compressed = largest_batch(lambda samples: memory_at(samples).compressed_peak, 10**9)
    step = training_memory(network, batch_size=compressed, optimizer="adam")
    weights = held_weights(network, plan, step, WeightStorage.least(plan.method))
    assert dense < compressed
    assert max(weights.in_passes, weights.at_update) <= 10**9
