"""Networks exported by torch.onnx are read as tracing their modules reads them."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from swatcost_models.gpt2 import GPT2
from swatcost_models.resnet import cifar_resnet18
from torch import Tensor, nn

import swatcost
from swatcost.network import Layer, Network


class Attending(nn.Module):
    """Tokens → scores, through an encoder layer; the embedding and the output layer share their weight if `tied`."""

    def __init__(self, tied: bool = False) -> None:
        super().__init__()
        self.table, self.positions = nn.Embedding(50, 16), nn.Embedding(6, 16)
        self.encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0)
        self.norm, self.out = nn.LayerNorm(16), nn.Linear(16, 50, bias=False)
        if tied:
            self.out.weight = self.table.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.table(tokens) + self.positions(torch.arange(6))
        return self.out(self.norm(self.encoder(x)))


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], **settings: Any) -> None:
        super().__init__()
        self.layer = kind(8, 16, batch_first=True, **settings)
        self.out = nn.Linear(16 * (2 if settings.get("bidirectional") else 1), 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.layer(x)[0][:, -1])


class Summed(nn.Module):
    """Linear layers and products written as sums over indices."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.heads = nn.Parameter(torch.randn(12, 8)), nn.Parameter(torch.randn(8, 2, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.einsum("btc,dc->btd", x, self.weight)
        q = torch.einsum("btc,chd->bhtd", x[..., :8], self.heads)
        scores = torch.einsum("bhtd,bhsd->bhts", q, q)
        return torch.einsum("bhts,bhsd->bthd", scores.softmax(-1), q)


class Twice(nn.Module):
    """A convolution that runs twice, and one that has groups."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.grouped = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 8, 3, groups=2, stride=2, dilation=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.grouped(F.relu(self.conv(F.relu(self.conv(x)))))


class Sdpa(nn.Module):
    """Causal attention of grouped queries in torch's fused operation."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(16, 48)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (each.unflatten(-1, (2, 8)).transpose(1, 2) for each in self.qkv(x).chunk(3, -1))
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def _conv_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, groups=8),
        nn.GroupNorm(2, 8), nn.ConvTranspose2d(8, 6, 3, stride=2, padding=1, output_padding=1, groups=2), nn.Flatten(),
        nn.Linear(600, 10),
    )  # fmt: skip


def _instance_norms() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(4, 8, 5, padding=2), nn.InstanceNorm1d(8, affine=True), nn.SiLU(), nn.Conv1d(8, 4, 3, stride=2)
    )


TOKENS = torch.zeros(2, 6, dtype=torch.int64)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "convolutions": (_conv_net, torch.zeros(2, 3, 16, 16)),
    "instance norms": (_instance_norms, torch.zeros(2, 4, 20)),
    "3-D": (
        lambda: nn.Sequential(nn.Conv3d(2, 4, (1, 3, 3), padding=(0, 1, 1)), nn.ReLU(), nn.Conv3d(4, 2, 2)),
        torch.zeros(2, 2, 4, 6, 6),
    ),
    "shared convolution": (Twice, torch.zeros(2, 4, 9, 9)),
    "resnet": (cifar_resnet18, torch.zeros(2, 3, 32, 32)),
    "transformer": (Attending, TOKENS),
    "gpt2": (lambda: GPT2(40, width=128, blocks=2, bias=True), TOKENS),
    "tied weights": (lambda: Attending(tied=True), TOKENS),
    "fused attention": (Sdpa, torch.zeros(2, 6, 16)),
    "lstm": (lambda: Recurrent(nn.LSTM, num_layers=2, bidirectional=True), torch.zeros(2, 5, 8)),
    "gru": (lambda: Recurrent(nn.GRU), torch.zeros(2, 5, 8)),
    "einsum": (Summed, torch.zeros(2, 6, 8)),
}
"""Modules, with example inputs of two samples."""


def export(module: nn.Module, inputs: Tensor, path: Path, **options: Any) -> None:
    """Writes a module as it trains, for batches of any size; by default with the older exporter, which is faster."""
    if options.get("dynamo"):
        options |= {"dynamic_shapes": ({0: "batch"},), "verbose": False}
    else:
        options = {
            "dynamo": False, "input_names": ["x"], "dynamic_axes": {"x": {0: "batch"}}, "do_constant_folding": False,
            "training": torch.onnx.TrainingMode.TRAINING, **options,
        }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (inputs,), str(path), **options)


def both(name: str, folder: Path, **options: Any) -> tuple[Network, Network]:
    """A network as read from its export, and as traced."""
    build, inputs = NETWORKS[name]
    module = build().train()
    path = folder / f"{type(module).__name__}.onnx"
    export(module, inputs, path, **options)
    traced = swatcost.trace(module, input_shape=tuple(inputs.shape[1:]), input_dtype=inputs.dtype, loss="none")
    return swatcost.load(path), traced


def work(network: Network, *, weights: bool = True) -> dict[tuple[str, str, str], int]:
    """MACs per sample, forward and of training, of each module's weights and products."""
    found: Counter[tuple[str, str, str]] = Counter()
    for layer in network.counted_layers:
        weight = layer.weight if weights else ""
        found[layer.name, weight, "forward"] += layer.forward_macs
        found[layer.name, weight, "training"] += layer.training_macs
    assert all(macs % network.batch_size == 0 for macs in found.values())
    return {key: macs // network.batch_size for key, macs in found.items()}


def shapes(layer: Layer) -> tuple[Any, ...]:
    """What a layer is, with its rows in one dimension."""
    flat = (lambda shape: (prod(shape[:-1]), shape[-1])) if layer.kind == "linear" else (lambda shape: shape)
    return (
        layer.name, layer.kind, flat(layer.input_shape), layer.weight_shape, flat(layer.output_shape), layer.stride,
        layer.padding, layer.dilation, layer.groups, layer.input_needs_grad, layer.weight_trains,
    )  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_exported_networks_are_read_as_traced(name: str, tmp_path: Path) -> None:
    read, traced = both(name, tmp_path)
    assert work(read) == work(traced)
    assert {(each.name, each.shape, each.trains) for each in read.parameters} == {
        (each.name, each.shape, each.trains) for each in traced.parameters
    }
    assert {each.name for each in read.buffers} == {
        each.name
        for each in traced.buffers
        if not each.name.endswith("num_batches_tracked")  # which nothing reads
    }
    assert (read.embeddings, read.embeds_input) == (traced.embeddings, traced.embeds_input)
    assert (read.input_shapes, read.output_shapes) == (traced.input_shapes, traced.output_shapes)
    assert (read.batch_size, read.tokens) == (traced.batch_size, traced.tokens)
    assert not any(each.products for each in read.uncounted)
    if name not in ("lstm", "gru"):  # of which torch runs every step of a sequence by itself on the meta device
        assert [*map(shapes, read.weight_layers)] == [*map(shapes, traced.weight_layers)]
    if name != "instance norms":  # whose channels torch makes one image's
        norms = [[shapes(each) for each in network.layers if each.is_norm] for network in (read, traced)]
        assert norms[0] == norms[1]


@pytest.mark.parametrize("name", ["3-D", "shared convolution", "resnet"])
def test_saved_activations_are_those_of_autograd(name: str, tmp_path: Path) -> None:
    """Where torch runs one operation for each node; what it fuses saves less."""
    read, traced = (swatcost.estimate(each, acts=0.5).memory for each in both(name, tmp_path))
    assert read == traced


def test_the_newer_exporter_names_layers_in_metadata(tmp_path: Path) -> None:
    """It folds the normalisation into the convolution; names of other weights stay."""
    read, traced = both("convolutions", tmp_path, dynamo=True)
    assert work(read) == work(traced)
    kinds = [[each.kind for each in network.layers] for network in (read, traced)]
    assert kinds[0] == [each for each in kinds[1] if each != "batch_norm"]
    folded = {"1.weight": 8, "1.bias": 8}
    assert traced.parameter_elements - read.parameter_elements == sum(folded.values())


def test_attention_in_one_node_says_that_it_is_causal(tmp_path: Path) -> None:
    read, traced = both("fused attention", tmp_path, dynamo=True, opset_version=23)
    assert work(read, weights=False) == work(traced, weights=False)  # it transposes weights, whose names are lost
    assert [each.attention for each in read.layers] == [each.attention for each in traced.layers]
    assert read.parameter_elements == traced.parameter_elements


def test_a_network_exported_for_inference_is_still_counted(tmp_path: Path) -> None:
    """By default the exporter folds batch normalisation into convolutions, which keep their MACs."""
    read, traced = both("convolutions", tmp_path, training=torch.onnx.TrainingMode.EVAL, do_constant_folding=True)
    assert sum(each.forward_macs for each in read.layers) == sum(each.forward_macs for each in traced.layers)
    assert "batch_norm" not in {each.kind for each in read.layers}
