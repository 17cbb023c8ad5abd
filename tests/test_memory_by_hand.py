"""Bytes of training steps that others published, or that can be added up by hand, beside what is reported of them."""

from __future__ import annotations

import pytest
import torch
from swatcost_models import resnet
from torch import nn

import swatcost
from swatcost.memory.dense_step import training_memory
from swatcost.network import Network
from swatcost.planning.memory import memory_of

from .networks import gpt_2
from .transformers_by_hand import Block

MIB = 2**20


@pytest.mark.parametrize(("held", "counted"), [(False, 12_099_048), (True, 14_499_048)])
def test_a_classifier_of_thousands(held: bool, counted: int) -> None:
    """200 samples of 64 features, 128 hidden ones, 3,000 classes, Adam: three tensors of all classes at the peak.

    It is where log-softmax's gradient is made: the log-probabilities, their gradient, and that of the outputs; and the
    outputs if they are held. `counted` are the bytes of storages alive in such a step on a CPU.
    """
    module = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 3000))
    parameters = 64 * 128 + 128 + 128 * 3000 + 3000
    network = swatcost.trace(module, input_shape=(64,), hold_outputs=held)
    step = training_memory(network, batch_size=200, optimizer="adam", update="loop")
    outside = 200 * 64 * 4 + 200 * 8  # inputs and labels
    numbers = 2 * 4  # the loss, and the weight of all labels that nll_loss keeps
    classes = (4 if held else 3) * 200 * 3000 * 4
    assert step.peak.bytes == 3 * 4 * parameters + outside + 200 * 128 * 4 + classes + numbers == counted


LENGTH, SAMPLES, WIDTH, HEADS = 24, 5, 64, 4
SBH, SCORES = LENGTH * SAMPLES * WIDTH, HEADS * LENGTH * LENGTH * SAMPLES


@pytest.fixture(scope="module")
def layers() -> dict[str, dict[str, Network]]:
    """A transformer layer as Korthikanti et al. (2022) count it, by what is recomputed and by how it was traced."""
    module, x = nn.Sequential(Block(WIDTH, HEADS)), torch.zeros(LENGTH, SAMPLES, WIDTH)
    return {
        kind: {
            name: swatcost.trace(module.to(dtype), (x.to(dtype),), batch_dim=1, loss="none", checkpoint=pattern)
            for name, pattern in (("nothing", None), ("the attention core", "0.attention.core"), ("the layer", "0"))
        }
        for kind, dtype in (("in fp32", torch.float32), ("in fp16", torch.half))
    }


@pytest.mark.parametrize("gpus", [1, 2])
@pytest.mark.parametrize("traced", ["in fp16", "in fp32"])
def test_korthikanti_et_al_with_recomputation(layers: dict[str, dict[str, Network]], traced: str, gpus: int) -> None:
    """Equations 1 and 2; Section 5's selective recomputation, without 5·a·s²·b; full recomputation, 2·s·b·h.

    Beyond the paper a trace has four statistics of norms per token, of 2 bytes, and masks of 2 bytes per element for
    1: two of s·b·h, and that of the scores. Full recomputation keeps the layer's input and nothing else.
    """
    printed = {
        "nothing": SBH * (10 + 24 / gpus + 5 * HEADS * LENGTH / (WIDTH * gpus)),
        "the attention core": SBH * (10 + 24 / gpus),
        "the layer": 2 * SBH,
    }
    assert gpus > 1 or printed["nothing"] == 34 * SBH + 5 * SCORES
    beyond = 4 * 2 * LENGTH * SAMPLES + 2 * SBH
    expected = {
        "nothing": printed["nothing"] + beyond + SCORES / gpus,
        "the attention core": printed["the attention core"] + beyond,
        "the layer": printed["the layer"],
    }
    saved = {
        name: training_memory(
            network, batch_size=SAMPLES, precision="fp16", gpus=gpus, tensor_parallel=gpus
        ).saved_bytes
        for name, network in layers[traced].items()
    }
    assert saved == expected


class Adapted(nn.Module):
    """A frozen convolution with a low-rank adapter beside it, as peft's `lora.Conv2d` computes them."""

    def __init__(self, base: nn.Conv2d, rank: int, dropout: float) -> None:
        super().__init__()
        self.base, self.dropout = base, nn.Dropout(dropout) if dropout else nn.Identity()
        size, stride, padding = base.kernel_size[0], base.stride[0], int(base.padding[0])
        self.a = nn.Conv2d(base.in_channels, rank, size, stride, padding, bias=False)
        self.b = nn.Conv2d(rank, base.out_channels, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.base(x) + self.b(self.a(self.dropout(x))) * 2.0
        return result


def adapted(dropout: float) -> nn.Module:
    """ResNet-50 with one class; an adapter of rank 4 at every convolution is all that trains."""
    with torch.device("meta"):
        module = resnet.resnet50(num_classes=1).requires_grad_(False)
        for name, each in list(module.named_modules()):
            if isinstance(each, nn.Conv2d):
                module.set_submodule(name, Adapted(each, 4, dropout))
    return module


def convolutions() -> list[tuple[int, int, int, int, int]]:
    """ResNet-50's: channels in and out, kernel, sides of input and output."""
    found, channels, side = [(3, 64, 7, 224, 112)], 64, 56
    for blocks, width, stride in ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2)):
        for block in range(blocks):
            smaller = side // (stride if block == 0 else 1)
            found += [
                (channels, width, 1, side, side), (width, width, 3, side, smaller),
                (width, 4 * width, 1, smaller, smaller),
                *([(channels, 4 * width, 1, side, smaller)] if block == 0 else []),
            ]  # fmt: skip
            channels, side = 4 * width, smaller
    return found


def test_lora_on_resnet_50() -> None:
    """peft #2196: at 16 samples activations of 1310.95 MiB, 2618.32 MiB with LoRA, 317,772 of 23,827,853 trained.

    Those are the parameters of rank 4 at every convolution, with one class. The growth is not LoRA's own: an adapter
    keeps its 4 channels, 15 MiB, and shares its input with the frozen convolution. It is that of `lora_dropout`, which
    on a CPU keeps a mask and a product, in fp32, of each convolution's input. The activations of #2196 include the
    input; its tracker's peak with full fine-tuning comes after the last layer's input is freed.
    """
    shapes = convolutions()
    assert sum(4 * (inputs * kernel**2 + outputs) for inputs, outputs, kernel, _, _ in shapes) == 317_772
    batch = 16
    read = [4 * batch * inputs * side**2 for inputs, _, _, side, _ in shapes]
    made = [4 * batch * outputs * side**2 for _, outputs, _, _, side in shapes]
    rank_4 = sum(4 * batch * 4 * side**2 for *_, side in shapes)
    statistics = sum(2 * 4 * outputs for _, outputs, *_ in shapes)
    # each ReLU's result: that of the stem, of two convolutions in each of 16 blocks, and of the block
    blocks = [index for index, (inputs, outputs, kernel, _, _) in enumerate(shapes) if kernel == 3]
    relus = made[0] + sum(made[index - 1] + made[index] + made[index + 1] for index in blocks)
    pooled = 4 * batch * 64 * 56**2  # by the stem, with an index of 8 bytes per number
    kept = sum(made) + statistics + relus + 3 * pooled
    last = 4 * batch * 2048
    full, alone, dropped = (
        training_memory(swatcost.trace(module, input_shape=(3, 224, 224), loss="none"), batch_size=batch)
        for module in (resnet.resnet50(num_classes=1), adapted(0.0), adapted(0.1))
    )
    assert full.saved_bytes == kept + read[0] + last
    assert round((full.saved_bytes - last) / MIB, 2) == 1310.95
    assert alone.saved_bytes == kept + read[0] + rank_4
    # the image needs no gradient: its dropout keeps no mask, and the image itself is held by whoever gave it
    assert dropped.saved_bytes == kept + sum(read) + sum(read[1:]) + rank_4
    assert round((dropped.saved_bytes + read[0]) / MIB, 2) == 2618.32
    assert dropped.gradients == 4 * 317_772


@pytest.fixture(scope="module")
def language_model() -> Network:
    """GPT-2's size, without biases in attention: 124,402,944 parameters."""
    return swatcost.trace(*gpt_2(), loss="cross-entropy")


H, V, S, L = 768, 50_257, 1024, 12
MATRICES = [(V, H), (S, H), *[(3 * H, H), (H, H), (4 * H, H), (H, 4 * H)] * L]
VECTORS = [*[H] * 4 * L, *[H, 4 * H] * L, H, H]  # norms, biases of the MLP
OF_MATRICES, OF_VECTORS = sum(rows * columns for rows, columns in MATRICES), sum(VECTORS)
P = OF_MATRICES + OF_VECTORS


@pytest.mark.parametrize(
    ("optimizer", "state"),
    [
        ("adamw", 2 * 4 * P),
        ("lion", 4 * P),
        ("adafactor", 4 * (sum(rows + columns for rows, columns in MATRICES) + OF_VECTORS)),
        # two bytes and twice 4 per block of 256; vectors are smaller than 4,096; two tables of 256 numbers
        ("adam8bit", 2 * OF_MATRICES + 2 * 4 * OF_MATRICES // 256 + 8 * OF_VECTORS + 2 * 256 * 4),
        ("muon", 4 * OF_MATRICES + 2 * 4 * OF_VECTORS),
    ],
)
def test_state_of_a_language_model(language_model: Network, optimizer: str, state: int) -> None:
    assert P == 124_402_944
    assert max(VECTORS) < 4096
    step = training_memory(language_model, batch_size=1, optimizer=optimizer)
    assert step.constant["parameters"] == 4 * P
    assert step.constant["optimizer state"] == state


def test_what_eight_gpus_hold_and_send(language_model: Network) -> None:
    """In Adam's master precision: 2 bytes per parameter and gradient, 4 for the master copy and each moment."""
    steps = {
        each: training_memory(
            language_model, batch_size=1, optimizer="adamw", precision="master", gpus=8, sharding=each
        )
        for each in ("ddp", "zero2", "zero3", "fsdp")
    }
    part = P // 8
    assert P % 8 == 0
    whole = 2 * P * 7 // 8  # what each GPU sends in a reduce-scatter or an all-gather of everything
    assert steps["ddp"].constant == {
        "parameters": 2 * P, "master weights": 4 * P, "optimizer state": 8 * P, "gradient buckets": 2 * P,
    }  # fmt: skip
    assert steps["ddp"].sent == {"all-reduce": 2 * whole}
    assert steps["zero2"].constant == {"parameters": 2 * P, "master weights": 4 * part, "optimizer state": 8 * part}
    assert steps["zero2"].gradients == 2 * part
    assert steps["zero2"].sent == {"all-reduce": 2 * whole, "all-gather": whole}
    assert steps["zero3"].constant == {
        "parameters": 2 * part, "master weights": 4 * part, "optimizer state": 8 * part, "gradients": 2 * part,
        "persistent parameters": 2 * OF_VECTORS,  # each below 100,000
        "communication buckets": 2 * 500_000_000,
    }  # fmt: skip
    # less than a billion elements: gathered once
    assert steps["zero3"].sent == {"all-gather": whole, "reduce-scatter": whole}
    # rows of the embedding in eight equal parts: 50,264 of them; blocks are gathered twice, everything else once
    padded = P + 7 * H
    blocks = L * (12 * H * H + 9 * H)
    assert steps["fsdp"].constant == {"parameters": 4 * padded // 8, "optimizer state": 8 * padded // 8}
    assert steps["fsdp"].sent == {
        "all-gather": 2 * (padded + blocks) * 7 // 8, "reduce-scatter": 2 * padded * 7 // 8,
    }  # fmt: skip


def test_slopes_storage_of_a_network() -> None:
    """In bf16 with Adam: a byte per weight and its bit, the same for the transpose, a boolean, half of everything else.

    The first layer computes no gradient of its input and needs no transpose.
    """
    module = nn.Sequential(*(nn.Linear(*each, bias=False) for each in ((128, 256), (256, 512), (512, 64))))
    weights, transposed = 128 * 256 + 256 * 512 + 512 * 64, 256 * 512 + 512 * 64
    storage = "parameters=active,gradients=active,state=active,copies=0,transposes=1,mask_bits=8"
    report = memory_of(
        module, input_shape=(128,), weights=0.5, distribution="nm", first_layer="sparse", precision="bf16",
        optimizer="adam", weight_storage=storage,
    )  # fmt: skip
    assert report.memory.compressed_weights.parts == {
        "parameters": weights, "master weights": 0, "indices": weights / 8, "weight copies": 9 / 8 * transposed,
        "masks": weights, "gradients": weights, "optimizer state": 2 * weights,
    }  # fmt: skip
