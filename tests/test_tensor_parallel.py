"""Tensor parallel steps: what the literature counts, and the same network written as one GPU has it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import swatcost
from swatcost.common.errors import SwatcostError
from swatcost.memory.dense_step import StepMemory, part_of, training_memory
from swatcost.memory.execution import Execution
from swatcost.network import Network

from .transformers_by_hand import GPT, Block, LlamaBlock

WIDTH, HEADS, LENGTH, SAMPLES = 64, 4, 16, 3


@pytest.fixture(scope="module")
def layer() -> Network:
    """One transformer layer of Korthikanti et al. in half precision, (s, b, h) = (16, 3, 64), 4 heads."""
    x = torch.zeros(LENGTH, SAMPLES, WIDTH, dtype=torch.half)
    return swatcost.trace(nn.Sequential(Block(WIDTH, HEADS)).half(), example_inputs=(x,), batch_dim=1)


@pytest.mark.parametrize("gpus", [1, 2, 4])
def test_korthikanti_et_al(layer: Network, gpus: int) -> None:
    """s·b·h·(10 + 24/t + 5·a·s/(h·t)), their equation 2; with one GPU s·b·h·(34 + 5·a·s/h), equation 1.

    Beyond it a trace has: the mean and the standard deviation of two norms, and masks in 2 bytes per element where the
    paper has 1, because torch off a GPU multiplies with the mask in the precision of the activations.
    """
    tokens, scores = LENGTH * SAMPLES, SAMPLES * HEADS * LENGTH * LENGTH
    printed = tokens * WIDTH * (10 + 24 / gpus + 5 * HEADS * LENGTH / (WIDTH * gpus))
    assert gpus > 1 or printed == tokens * WIDTH * (34 + 5 * HEADS * LENGTH / WIDTH)
    statistics = 2 * 2 * tokens * 2
    masks = 2 * tokens * WIDTH + scores // gpus
    step = training_memory(layer, batch_size=SAMPLES, gpus=gpus, tensor_parallel=gpus)
    assert step.saved_bytes - step.loss == printed + statistics + masks
    # 12·h² weights and the first layers' biases are divided; two norms, and biases of the last layers, are whole
    divided, whole = 12 * WIDTH**2 + (3 + 4) * WIDTH, 4 * WIDTH + 2 * WIDTH
    assert step.constant["parameters"] == 2 * (divided // gpus + whole)
    assert step.whole == ()
    # forward: attention's and the MLP's output; backward: the gradient of the input of both; (t − 1) / t · 2 each
    assert step.sent == (
        {} if gpus == 1 else {"all-reduce of activations": 2 * (gpus - 1) * 4 * 2 * tokens * WIDTH // gpus}
    )


def on_one_gpu(traced: Network, batch_size: int) -> StepMemory:
    return training_memory(traced, batch_size=batch_size, optimizer="adam")


@pytest.mark.parametrize("gpus", [2, 4])
def test_a_gpt_as_one_gpu_has_it(gpus: int) -> None:
    """The same network traced with a part of its heads, hidden layer and vocabulary: the same bytes.

    A GPU keeps two heads or more: with one, torch copies less to multiply.
    """
    sizes = {"width": 64, "heads": 8, "layers": 2, "vocabulary": 1000, "length": LENGTH}
    tokens = torch.zeros(LENGTH, SAMPLES, dtype=torch.long)
    network, own = (
        swatcost.trace(GPT(**sizes, gpus=each), example_inputs=(tokens,), batch_dim=1) for each in (1, gpus)
    )
    split = training_memory(network, batch_size=6, optimizer="adam", gpus=gpus, tensor_parallel=gpus)
    alone = on_one_gpu(own, 6)
    assert (split.constant, split.gradients, split.saved) == (alone.constant, alone.gradients, alone.saved)
    assert split.peak.bytes == alone.peak.bytes
    # each layer's four all-reduces, that of the embedding's output, that of the gradient of the logits' input
    assert split.sent == {"all-reduce of activations": 2 * (gpus - 1) * (2 * 4 + 2) * 6 * LENGTH * 64 * 4 // gpus}


@pytest.mark.parametrize("gpus", [2, 4])
def test_grouped_queries_and_gated_mlps_as_one_gpu_has_them(gpus: int) -> None:
    """After every event of the step, the same bytes are live."""
    x = torch.zeros(3, 32, 64)
    network, own = (
        swatcost.trace(nn.Sequential(*(LlamaBlock(64, 8, 4, 160, each) for _ in range(2))), example_inputs=(x,))
        for each in (1, gpus)
    )
    split = training_memory(network, batch_size=5, optimizer="adam", gpus=gpus, tensor_parallel=gpus)
    alone = on_one_gpu(own, 5)
    assert (split.live, split.peak, split.saved) == (alone.live, alone.peak, alone.saved)
    assert (split.constant, split.gradients) == (alone.constant, alone.gradients)


@pytest.mark.parametrize("gpus", [2, 4])
def test_layers_that_read_copies_of_one_tensor_under_autocast(gpus: int) -> None:
    """Autocast copies the input of queries, keys and values for each, and of a gate and what it multiplies.

    What is saved is that of one GPU's network, copies of its weights included; the peak is an upper bound. Four
    all-reduces in bf16 for each block.
    """
    makers = {1: lambda own: Block(64, 8, own), 0: lambda own: LlamaBlock(64, 8, 4, 160, own)}
    for batch_dim, made in makers.items():
        x = torch.zeros((16, 3, 64) if batch_dim else (3, 16, 64), device="meta")
        network, own = (
            swatcost.trace(nn.Sequential(made(each), made(each)), (x,), batch_dim=batch_dim, autocast="amp")
            for each in (1, gpus)
        )
        split = training_memory(network, batch_size=5, precision="amp", gpus=gpus, tensor_parallel=gpus)
        alone = training_memory(own, batch_size=5, precision="amp")
        assert (split.constant, split.saved) == (alone.constant, alone.saved)
        assert split.sent == {"all-reduce of activations": 2 * (gpus - 1) * 2 * 4 * 5 * 16 * 64 * 2 // gpus}
        assert alone.peak.bytes <= split.peak.bytes <= 1.1 * alone.peak.bytes


def whole(module: nn.Module, gpus: int, *shape: int) -> tuple[str, ...]:
    network = swatcost.trace(module, example_inputs=(torch.zeros(3, *shape),))
    return training_memory(network, batch_size=3, gpus=gpus, tensor_parallel=gpus).whole


class Residual(nn.Module):
    """Two linear layers, and perhaps something between them."""

    def __init__(self, hidden: int, *between: nn.Module) -> None:
        super().__init__()
        self.first, self.between, self.last = nn.Linear(12, hidden), nn.Sequential(*between), nn.Linear(hidden, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = x + self.last(self.between(self.first(x)))
        return result


def test_what_stays_whole_is_named() -> None:
    assert whole(LlamaBlock(64, 8, 4, 160), 8, 5, 64) == tuple(
        f"attention.{each}: 4 heads do not divide by 8" for each in "qkvo"
    )
    assert whole(Residual(30), 4, 12) == ("first: 30 output features do not divide by 4",
                                          "last: 30 output features do not divide by 4")  # fmt: skip
    assert whole(Residual(32, nn.LayerNorm(32)), 4, 12) == (
        "first: between.0 normalises all of its features", "last: between.0 normalises all of its features",
    )  # fmt: skip
    assert whole(nn.Linear(12, 10), 4, 12) == ("Linear: 10 output features do not divide by 4",)
    alone = nn.Sequential(nn.Sequential(nn.Linear(12, 12)), nn.ReLU(), nn.Linear(12, 8))
    assert whole(alone, 4, 12) == ("0.0: no linear layer of its module follows it or shares its input",)


def test_what_is_whole_costs_what_it_does_on_one_gpu() -> None:
    network = swatcost.trace(Residual(30), example_inputs=(torch.zeros(3, 12),))
    split, alone = (training_memory(network, batch_size=3, gpus=each, tensor_parallel=each) for each in (4, 1))
    assert (split.live, split.peak, split.constant, split.sent) == (alone.live, alone.peak, alone.constant, {})


def test_frozen_weights_divide_too() -> None:
    """Their activations do in the forward pass; the backward pass has no gradient that says where it is."""
    module = Residual(32).requires_grad_(False)
    module.last.requires_grad_(True)
    network = swatcost.trace(nn.Sequential(Residual(32), module), example_inputs=(torch.zeros(3, 12),))
    step = training_memory(network, batch_size=3, gpus=4, tensor_parallel=4)
    assert step.whole == ()
    assert step.constant["parameters"] == 4 * 2 * (2 * 12 * 32 // 4 + 32 // 4 + 12)


def test_groups_of_gpus_share_the_state(layer: Network) -> None:
    """Eight GPUs, two to a layer: the state is that of a half, over four replicas."""
    step = training_memory(layer, batch_size=3, optimizer="adam", gpus=8, tensor_parallel=2, sharding="fsdp")
    execution = Execution.of(gpus=8, tensor_parallel=2)
    part = part_of(layer, 3, execution)
    assert (execution.replicas, part.gpus) == (4, 4)
    # all first dimensions divide by 4: a quarter of the half
    assert step.constant["parameters"] == 2 * sum(part.elements) // 4
    assert set(step.sent) == {"all-gather", "reduce-scatter", "all-reduce of activations"}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"gpus": 6, "tensor_parallel": 4}, "tensor_parallel 4: 6 GPUs are not groups of 4, give a multiple"),
        ({"tensor_parallel": 2}, "tensor_parallel 2: 1 GPUs are not groups of 2"),
        ({"gpus": 0}, "gpus 0: give a whole number"),
        ({"tensor_parallel": 0}, "tensor_parallel 0: give a whole number"),
        ({"gpus": 2.5}, "gpus 2.5: give a whole number"),
        ({"sharding": "zero4"}, "unknown sharding 'zero4'"),
    ],
)
def test_what_cannot_be(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(SwatcostError, match=said):
        Execution.of(**asked)
