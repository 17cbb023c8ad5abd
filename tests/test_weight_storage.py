"""How weights are stored: SLoPe's published table term by term, tensors that torch really keeps, and laws."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from math import isclose, prod
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.sparse._semi_structured_conversions import sparse_semi_structured_from_dense_cutlass

import swatcost
from swatcost.cli import main
from swatcost.common.errors import SwatcostError
from swatcost.memory.dense_step import training_memory
from swatcost.memory.held_weights import held_weights
from swatcost.memory.sparse_step import SparseMemory, sparse_memory
from swatcost.memory.weight_storage import PARTS, ElementBytes, WeightStorage, storage_changes, stored_bytes
from swatcost.methods import METHODS
from swatcost.network import Network
from swatcost.planning import memory_of
from swatcost.planning.capacity import largest_batch

from .by_hand import cannot_be_changed, chain, plan_of
from .test_memory import saved_bytes

# SLoPe's account (github.com/Mohammad-Mozaffari/slope, performance_experiments/memory.py): fp16 parameters and
# gradients, fp32 moments; both orders in 2:4; torch.bool masks; gradients and moments of half the elements.
ADAM = ElementBytes(parameter=2, gradient=2, state=4 + 4)
SLOPE = WeightStorage(parameters="active", gradients="active", state="active", transposes=1, mask_bits=8)
# The same file's account of FST (Hu et al., ICML 2024): the dense weight as well, everything else dense.
FST = WeightStorage(copies=1, transposes=1, mask_bits=8)


def of_matrix(storage: WeightStorage, rows: int, columns: int, sparsity: float = 0.5) -> dict[str, float]:
    return stored_bytes(storage, rows=rows, columns=columns, sparsity=sparsity, element=ADAM, pattern=(2, 4))


def test_slopes_bytes_of_a_weight_term_by_term() -> None:
    dense = of_matrix(SLOPE, 1024, 4096, sparsity=0.0)
    assert {name: size / (1024 * 4096) for name, size in dense.items() if size} == {
        "parameters": 2, "gradients": 2, "optimizer state": 4 + 4,
    }  # fmt: skip
    slope = of_matrix(SLOPE, 1024, 4096)
    assert {name: size / (1024 * 4096) for name, size in slope.items() if size} == {
        "parameters": 1,  # half of the values, of 2 bytes
        "indices": 1 / 8,  # 2 bits for each half as many values: 1 bit per weight
        "weight copies": 1 + 1 / 8,  # the transpose
        "masks": 1,
        "gradients": 1 / 2 * 2,
        "optimizer state": 1 / 2 * (4 + 4),
    }
    assert sum(slope.values()) / (1024 * 4096) == 2 * (1 + 1 / 8) + 1 + 1 / 2 * 10 == 8.25
    # beside the dense weight and its 10 bytes, both orders in 2:4 and the mask
    assert sum(of_matrix(FST, 1024, 4096).values()) / (1024 * 4096) == 12 + 2 * (1 + 1 / 8) + 1 == 15.25


def test_torch_encodes_2_4_in_as_many_bytes() -> None:
    """Values and metadata of the weight, and of its transpose pruned once more, as 2:4 kernels read them."""
    weight = torch.randn(128, 256).bfloat16()

    def encoded(matrix: Tensor) -> int:
        groups = matrix.reshape(matrix.shape[0], -1, 4).clone()
        groups[..., 2:] = 0
        values, metadata = sparse_semi_structured_from_dense_cutlass(groups.reshape(matrix.shape))
        return values.nbytes + metadata.nbytes

    stored = of_matrix(SLOPE, 128, 256)
    assert stored["parameters"] + stored["indices"] == encoded(weight)
    assert stored["weight copies"] == encoded(weight.t().contiguous())
    # In fp32 torch keeps 4 bits per value, for 1 of 2, where 2 bits are enough: 2 + 1/4 bytes per weight, not 2 + 1/8.
    ours = stored_bytes(SLOPE, rows=128, columns=256, sparsity=0.5, element=ElementBytes(parameter=4), pattern=(2, 4))
    assert ours["weight copies"] == 128 * 256 * (2 + 1 / 8) == encoded(weight.float().t().contiguous()) - 128 * 256 / 8


Shape = tuple[int, int]


def opt(width: int, layers: int) -> tuple[list[Shape], int, int]:
    """Pruned matrices, elements of other matrices and of vectors of an OPT: 50,272 tokens, 2,050 positions, tied head.

    A layer has four projections and two of the feed-forward part, their biases, and two normalisations.
    """
    of_layer = [(width, width)] * 4 + [(4 * width, width), (width, 4 * width)]
    return of_layer * layers, (50_272 + 2_050) * width, (9 + 4) * width * layers + 2 * width


def llama(vocabulary: int, layers: int) -> tuple[list[Shape], int, int]:
    """The same for LLaMA-3-8B and Mistral-7B: width 4096, 1024 for keys and values, 14,336 inside, untied head."""
    of_layer = [(4096, 4096)] * 2 + [(1024, 4096)] * 2 + [(14_336, 4096)] * 2 + [(4096, 14_336)]
    return of_layer * layers, 2 * vocabulary * 4096, (2 * layers + 1) * 4096


def slope_over_dense(model: tuple[list[Shape], int, int], unpruned: float = 12) -> float:
    """Bytes with SLoPe over dense bytes; `unpruned` bytes per element of matrices that are not pruned."""
    pruned, embeddings, vectors = model
    sparse = sum(sum(of_matrix(SLOPE, *shape).values()) for shape in pruned)
    dense = 12 * (sum(map(prod, pruned)) + embeddings + vectors)
    return (sparse + unpruned * embeddings + 12 * vectors) / dense


SLOPES_TRAINING_MEMORY = [
    # layers as in its scripts/e2e_model_memory.sh
    pytest.param(opt(9216, 2), 0.67, id="OPT-66B, 2 layers"),
    pytest.param(opt(7168, 3), 0.67, id="OPT-30B, 3 layers"),
    pytest.param(opt(5120, 12), 0.68, id="OPT-13B, 12 layers as its inference rows have"),
    pytest.param(opt(4096, 12), 0.68, id="OPT-6.6B, 12 layers"),
    pytest.param(opt(2560, 12), 0.67, id="OPT-2.6B, 12 layers"),
    pytest.param(llama(128_256, 4), 0.63, id="LLaMA-3-8B, 4 layers"),
    pytest.param(
        llama(32_768, 2), 0.68, id="Mistral-v0.3-7B, 2 layers",
        marks=pytest.mark.xfail(strict=True, reason="0.65; 0.68 needs at least 10 layers, and the script has 2"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("model", "published"), SLOPES_TRAINING_MEMORY)
def test_slopes_published_memory(model: tuple[list[Shape], int, int], published: float) -> None:
    """Its code halves gradients and moments of every matrix, of embeddings too, which are not pruned: 2 + ½ · 10."""
    assert round(slope_over_dense(model, unpruned=7), 2) == published


def test_what_slopes_table_gives_with_embeddings_in_full() -> None:
    """12 bytes for what is not pruned, not 7. The smaller the part of the blocks, the more this changes."""
    found = {width: slope_over_dense(opt(width, layers)) for width, layers in ((5120, 6), (4096, 12), (2560, 12))}
    # embeddings are 52,322 · width elements, blocks 12 · layers · width²: 12 − 3.75 · b / (b + e) of 12 bytes, with
    # b / (b + e) = 12 · 30,720 / (12 · 30,720 + 52,322) = 0.8757 for 6 · 5120 and 12 · 2560, and 0.9185 for 12 · 4096
    assert {width: round(each, 3) for width, each in found.items()} == {5120: 0.726, 4096: 0.713, 2560: 0.726}
    assert found[2560] == pytest.approx(1 - 3.75 / 12 * 0.8757, abs=5e-4)


def test_two_cells_of_slopes_table_exclude_each_other() -> None:
    """6 layers of OPT-13B and 12 of OPT-2.6B have the same proportion of blocks, 6 · 5120 = 12 · 2560: the cells cannot
    be 0.68 and 0.67. Both are 0.67; the larger model's comes out with the 12 layers of its inference rows."""
    thirteen, two = (slope_over_dense(model, unpruned=7) for model in (opt(5120, 6), opt(2560, 12)))
    assert round(thirteen, 2) == round(two, 2) == 0.67
    assert thirteen == pytest.approx(two, abs=1e-4)  # vectors are a larger part of the smaller one


FSTS_TRAINING_MEMORY = [
    pytest.param(opt(9216, 2), 1.27, id="OPT-66B, 2 layers",
                 marks=pytest.mark.xfail(strict=True, reason="1.17: its neighbours are 1.15 to 1.19")),
    pytest.param(opt(7168, 3), 1.17, id="OPT-30B, 3 layers"),
    pytest.param(opt(5120, 3), 1.16, id="OPT-13B, 3 layers"),
    pytest.param(opt(4096, 12), 1.19, id="OPT-6.6B, 12 layers"),
    pytest.param(opt(2560, 12), 1.18, id="OPT-2.6B, 12 layers"),
    pytest.param(llama(128_256, 4), 1.17, id="LLaMA-3-8B, 4 layers",
                 marks=pytest.mark.xfail(strict=True, reason="1.11; 1.17 needs 12 layers, and the script has 4")),
    pytest.param(llama(32_768, 2), 1.15, id="Mistral-v0.3-7B, 2 layers"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "published"), FSTS_TRAINING_MEMORY)
def test_fsts_published_memory(model: tuple[list[Shape], int, int], published: float) -> None:
    """Square matrices are not pruned there but have a mask: 12 + 1 bytes per weight; the others 15.25."""
    pruned, embeddings, vectors = model
    sparse = sum(
        13 * rows * columns if rows == columns else sum(of_matrix(FST, rows, columns).values())
        for rows, columns in pruned
    )
    elements = sum(map(prod, pruned)) + embeddings + vectors
    assert round((sparse + 12 * (embeddings + vectors)) / (12 * elements), 2) == published


@pytest.mark.parametrize(
    ("names", "masked", "least"),
    [
        # SWAT, DST and SAW update every weight: all dense, and one copy serves the passes that read sparse weights
        (("swat", "swat-structured", "dst", "saw"), WeightStorage(copies=1, formats=False), WeightStorage(copies=1)),
        (
            ("set", "dsr", "rigl", "pruning"),
            WeightStorage(copies=1, formats=False, mask_bits=8),
            WeightStorage(parameters="active", gradients="active", state="active"),
        ),
        # sparse momentum: every weight has a gradient and a momentum, only active ones are updated
        (("snfs",), WeightStorage(copies=1, formats=False, mask_bits=8), WeightStorage(parameters="active")),
        (("dense", "meprop", "dsg"), WeightStorage(formats=False), WeightStorage()),
    ],
)
def test_what_each_method_stores(names: tuple[str, ...], masked: WeightStorage, least: WeightStorage) -> None:
    for name in names:
        assert (WeightStorage.masked(METHODS[name]), WeightStorage.least(METHODS[name])) == (masked, least)
    assert cannot_be_changed(least)


def test_every_method_is_said_to_store_something() -> None:
    """By the test above, so that a new method is thought about."""
    assert set(METHODS.names()) == {
        "swat", "swat-structured", "dst", "saw", "set", "dsr", "rigl", "pruning", "snfs", "dense", "meprop", "dsg",
    }  # fmt: skip


def test_a_method_cannot_update_weights_without_a_gradient() -> None:
    with pytest.raises(ValueError, match="updates weights for which it has no gradient"):
        replace(METHODS["rigl"], updates="all")


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
    memory = quarter("set", optimizer="adam", precision="mixed")
    weights = memory.compressed_weights
    active = 2624
    assert weights.parts == {
        "parameters": 2 * active, "master weights": 4 * active, "indices": 8448 // 8, "weight copies": 0, "masks": 0,
        "gradients": 2 * active, "optimizer state": 8 * active,
    }  # fmt: skip
    assert weights.at_update == weights.total + (64 + 32) // 2 + 4 * 3 * 1024
    assert memory.compressed_peak == weights.at_update


def test_slope_in_a_step_keeps_its_transpose() -> None:
    """A copy beside compressed parameters stays between steps; one of dense parameters is saved for backward."""
    network = chain(*FEATURES)
    plan = plan_of(network, [0.0, *[(0.5, 0.0)] * 3], method="set", distribution="nm", pattern=(2, 4))
    step = training_memory(network, batch_size=2, weight_storage="transposes=1,mask_bits=8")
    memory = sparse_memory(network, plan, step)
    weights = memory.compressed_weights
    assert replace(weights.storage) == SLOPE
    copies = 8448 * 4 // 2 + 8448 // 8  # 2:4 in fp32
    assert (weights.parts["weight copies"], weights.parts["masks"], weights.saved_copies) == (copies, 8448, 0)
    assert weights.total == 4 * 3 * (512 + 8448 // 2) + 8448 // 8 + copies + 8448
    assert weights.at_update == weights.total + 64 + 32
    fst = sparse_memory(network, replace(plan, method=METHODS["swat"]), replace(
        step, execution=replace(step.execution, weight_storage=(("transposes", 1),))))  # fmt: skip
    assert fst.compressed_weights.saved_copies == 2 * copies
    assert fst.compressed_weights.at_update == 4 * 3 * 8960 + 64 + 32


def test_a_transpose_in_csr_has_pointers_of_its_own_rows() -> None:
    """4 × 600 at 99 %: 24 values with indices of 2 bytes and 5 pointers of 2; turned, indices of 1 and 601 pointers,
    or coordinates of 2 + 1 bytes, which are fewer."""
    found = stored_bytes(
        WeightStorage(copies=1, transposes=1), rows=4, columns=600, sparsity=0.99, element=ElementBytes(parameter=4)
    )
    assert found["weight copies"] == pytest.approx(24 * (2 + 4) + 5 * 2 + 24 * (2 + 1 + 4))


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


def test_storage_can_be_changed() -> None:
    assert storage_changes("parameters=active, copies=0") == {"parameters": "active", "copies": 0}
    asked: dict[str, Any] = {"method": "rigl", "weights": 0.8}
    usual = memory_of("cifar_resnet18", **asked).memory
    with_mask = memory_of("cifar_resnet18", **asked, weight_storage="mask_bits=1").memory
    sparse = sum(layer.elements for layer in swatcost.load("cifar_resnet18").parameters if len(layer.shape) > 1) - 1728
    assert with_mask.compressed_weights.parts["masks"] == sparse // 8  # all matrices but the first: 64 · 3 · 3 · 3
    assert with_mask.compressed_peak == usual.compressed_peak + sparse // 8
    assert with_mask.naive_peak == usual.naive_peak


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "weight_storage '': give field=value"),
        ("copies", "weight_storage copies: '' is not one of 0, 1"),
        ("copies=2", "weight_storage copies: '2' is not one of 0, 1"),
        ("mask_bits=4", "'4' is not one of 0, 1, 8"),
        ("state=some", "'some' is not one of all, active"),
        ("formats=0", "weight_storage 'formats=0': give field=value, with parameters, gradients, state, copies"),
        ("copies=1,copies=0", "weight_storage copies is given twice"),
    ],
)
def test_misuse(text: str, words: str) -> None:
    with pytest.raises(SwatcostError, match=words) as caught:
        memory_of("cifar_resnet18", weight_storage=text)
    assert "\n" not in str(caught.value)


methods = st.sampled_from([name for name in METHODS.names() if METHODS[name].uses("weight")])
networks = st.lists(st.integers(1, 64), min_size=2, max_size=5).map(lambda features: chain(*features))
steps = st.fixed_dictionaries(
    {
        "batch_size": st.integers(1, 40),
        "optimizer": st.sampled_from(["sgd", "momentum", "adam"]),
        "precision": st.sampled_from(["fp32", "bf16", "mixed"]),
    }
)


def viewed(network: Network, method: str, sparsity: float, step: dict[str, Any]) -> SparseMemory:
    acts = sparsity if METHODS[method].uses("activation") else 0.0
    plan = plan_of(network, [(sparsity, acts)] * len(network.layers), method=method)
    return sparse_memory(network, plan, training_memory(network, **step))


@settings(max_examples=60, deadline=None)
@given(networks, methods, steps)
def test_without_zeros_weights_are_stored_as_in_dense_training(
    network: Network, method: str, step: dict[str, Any]
) -> None:
    memory = viewed(network, method, 0.0, step)
    dense = {name: memory.dense.constant.get(name, 0) for name in PARTS} | {"gradients": memory.dense.gradients}
    assert memory.naive_weights.parts == memory.compressed_weights.parts == dense
    assert memory.naive_peak == memory.compressed_peak == memory.dense.peak.bytes
    assert memory.dense_gradient_peak in (None, memory.dense.peak.bytes)


@settings(max_examples=100, deadline=None)
@given(networks, methods, steps, st.floats(0.01, 0.99))
def test_compressed_weights_take_no_more_than_masked_ones(
    network: Network, method: str, step: dict[str, Any], sparsity: float
) -> None:
    memory = viewed(network, method, sparsity, step)
    naive, compressed = memory.naive_weights, memory.compressed_weights
    assert compressed.total <= naive.total
    for part in set(PARTS) - {"indices"}:
        assert compressed.parts[part] <= naive.parts[part]
    assert compressed.in_passes <= naive.in_passes
    assert compressed.at_update <= naive.at_update
    if memory.compressed <= memory.naive:
        assert memory.compressed_peak <= memory.naive_peak
    if memory.dense_gradient_peak is not None:
        assert memory.compressed_peak <= memory.dense_gradient_peak <= memory.naive_peak


sizes = st.integers(1, 300)
elements = st.builds(
    ElementBytes,
    parameter=st.sampled_from([2, 4]),
    master=st.sampled_from([0, 4]),
    gradient=st.sampled_from([0, 2, 4]),
    state=st.sampled_from([0, 4, 8]),
)
patterns = st.sampled_from([None, (2, 4), (1, 4), (1, 16)])


@settings(max_examples=300, deadline=None)
@given(sizes, sizes, elements, patterns, st.floats(0, 0.99), st.floats(0, 0.99), st.sampled_from(["all", "active"]))
def test_more_zeros_never_take_more_bytes(
    rows: int, columns: int, element: ElementBytes, pattern: Any, one: float, other: float, gradients: Any
) -> None:
    """Without copies, which are made from the sparsity on at which they are smaller than the weight."""
    storage = WeightStorage(parameters="active", gradients=gradients, state=gradients)
    less, more = (
        sum(stored_bytes(storage, rows=rows, columns=columns, sparsity=each, element=element, pattern=pattern).values())
        for each in sorted((one, other))
    )
    dense = rows * columns * sum(size for _, size in element.by_part())
    assert more <= less or isclose(more, less, rel_tol=1e-12)
    assert less <= dense or isclose(less, dense, rel_tol=1e-12)


def test_the_report_adds_up(capsys: pytest.CaptureFixture[str]) -> None:
    """In every view, the parts in JSON are what the peak's parts and the totals are made of."""
    assert main(["memory", "cifar_resnet18", "--method", "rigl", "--weights", "0.9", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    views = found["views"]
    memory = memory_of("cifar_resnet18", method="rigl", weights=0.9).memory
    for name, weights in (("naive", memory.naive_weights), ("compressed", memory.compressed_weights)):
        assert views[name]["weights"] == weights.parts
        assert sum(views[name]["weights"].values()) == weights.total
    assert views["compressed"]["peak_bytes"] == memory.compressed_peak
    assert views["compressed"]["peak_bytes_with_dense_gradients"] == memory.dense_gradient_peak
    assert memory.dense_gradient_peak is not None
    assert memory.compressed_peak < memory.dense_gradient_peak < memory.dense.peak.bytes
    assert main(["memory", "cifar_resnet18", "--method", "rigl", "--weights", "0.9"]) == 0
    out = capsys.readouterr().out
    assert "stored for weights" in out
    assert "compressed, all gradients" in out


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
