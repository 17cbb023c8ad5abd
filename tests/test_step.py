"""The memory of a training step against what autograd saves and what torch's tracker sees, and what fits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import swatcost
from swatcost.cli import main
from swatcost.memory.dense_step import training_memory
from swatcost.network import Network
from swatcost.planning import memory_of

from .cases import Applied, block
from .conftest import zoo_network
from .test_memory import saved_bytes


def test_resnet50_to_the_byte(resnet50: Network) -> None:
    step = training_memory(resnet50, batch_size=32)
    assert step.saved_bytes == 2_749_444_868  # with the loss, which keeps 32 · 1000 floats, 32 labels and a weight
    assert step.loss == 32 * 1000 * 4 + 32 * 8 + 4
    assert step.input == 32 * 3 * 224**2 * 4
    mib = {name: size / 2**20 for name, size in step.saved.items()}
    # measured: BN inputs 1356.69 MiB, and 4 bytes of mean and deviation for each of 26,560 channels
    assert mib["native_batch_norm"] == pytest.approx(1356.69 + 2 * 26_560 * 4 / 2**20, abs=0.01)
    assert mib["relu_"] == pytest.approx(1062.69 + 98.00 + 12.25, abs=0.01)  # read by convs, by maxpool, by the mean
    assert mib["max_pool2d_with_indices"] == pytest.approx(49.00, abs=0.01)
    assert mib["convolution"] == pytest.approx(42.88, abs=0.01)
    assert step.gradients == step.constant["parameters"] == step.constant["optimizer state"] == 4 * 25_557_032


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.lstm, self.head = nn.Embedding(50, 16), nn.LSTM(16, 24, batch_first=True), nn.Linear(24, 50)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(self.table(x))[0])


def transformer() -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 3)


def small_conv(inplace: bool) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace), nn.Conv2d(8, 8, 3), nn.GroupNorm(2, 8),
        nn.ReLU(inplace), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.5), nn.Linear(8 * 36, 10),
    )  # fmt: skip


@pytest.mark.parametrize("batch", [2, 5])
@pytest.mark.parametrize(
    ("build", "shape", "dtype"),
    [
        (Recurrent, (7,), torch.long),
        (transformer, (9, 16), torch.float32),
        (lambda: small_conv(True), (3, 16, 16), torch.float32),
        (lambda: small_conv(False), (3, 16, 16), torch.float32),
    ],
)
def test_saved_bytes_equal_autograd(build: Any, shape: tuple[int, ...], dtype: torch.dtype, batch: int) -> None:
    module = build().to("meta").train()
    x = torch.empty(batch, *shape, dtype=dtype, device="meta")
    network = swatcost.trace(module, input_shape=shape, input_dtype=dtype)
    step = training_memory(network, batch_size=batch)
    on_device = x if build is not transformer else torch.zeros(batch, *shape)  # fused attention needs a device
    expected = saved_bytes(build().train() if build is transformer else module, on_device)
    assert step.saved_bytes - step.loss == expected


def test_checkpointing_moves_what_is_kept_to_the_backward_pass() -> None:
    from torch.utils.checkpoint import checkpoint

    def deep(self: Any, x: Tensor) -> Tensor:
        for part in self.parts:
            x = checkpoint(part, x, use_reentrant=False) if self.saving else part(x)
        return x

    steps = {}
    for saving in (False, True):
        module = Applied(deep, {"parts": nn.ModuleList(block() for _ in range(6))})
        module.saving = saving
        steps[saving] = training_memory(swatcost.trace(module, input_shape=(6,)), batch_size=1000)
    activations = {saving: step.saved_bytes - step.loss for saving, step in steps.items()}
    # without, each layer's input; with, each block's, and the first one's although it needs no gradient
    assert activations == {False: 6 * (1000 * 6 + 1000 * 7) * 4, True: 6 * 1000 * 6 * 4}
    assert steps[True].peak.bytes < steps[False].peak.bytes


@pytest.mark.parametrize(
    ("precision", "per_parameter", "activations"), [("fp32", 16, 1.0), ("bf16", 8, 0.5), ("mixed", 16, 0.5)]
)
def test_precisions(precision: str, per_parameter: int, activations: float) -> None:
    """AdamW: parameter, gradient and two moments; mixed adds a master weight: 2 + 2 + 4 + 4 + 4."""
    network = zoo_network("cifar_vgg16")
    full = training_memory(network, optimizer="adamw")
    step = training_memory(network, optimizer="adamw", precision=precision)
    held = sum(size for name, size in step.constant.items() if name != "buffers")
    assert held + step.gradients == per_parameter * network.parameter_elements
    floating = full.saved["relu_"]
    assert step.saved["relu_"] == floating * activations
    assert step.saved["max_pool2d_with_indices"] == full.saved["max_pool2d_with_indices"]  # whole numbers


def test_what_is_held_adds_up_to_the_peak(zoo_name: str) -> None:
    for optimizer in ("sgd", "momentum", "adam"):
        step = training_memory(zoo_network(zoo_name), batch_size=8, optimizer=optimizer)
        assert sum(step.peak.holds.values()) == step.peak.bytes
        assert max(step.live) + sum(step.constant.values()) <= step.peak.bytes


def test_the_largest_batch_fits_and_one_more_does_not(resnet50: Network) -> None:
    report = memory_of(resnet50, weights=0.8, acts=0.8, fit="11GB")
    assert report.fits is not None
    dense, naive, compressed = (report.fits[view] for view in ("dense", "naive", "compressed"))
    assert training_memory(resnet50, batch_size=dense).peak.bytes <= 11 * 10**9
    assert training_memory(resnet50, batch_size=dense + 1).peak.bytes > 11 * 10**9
    assert naive < dense < compressed
    for batch_size, fits in ((naive, True), (naive + 1, False)):
        assert (memory_of(resnet50, weights=0.8, acts=0.8, batch_size=batch_size).memory.naive_peak <= 11e9) == fits
    assert report.needed == 0.0


def test_a_devices_memory(resnet50: Network) -> None:
    assert memory_of(resnet50, fit="rtx2080ti").capacity == 11 * 2**30


def test_the_memory_of_a_70b_stack() -> None:
    """AdamW in mixed precision: 2 + 2 + 4 + 4 + 4 bytes a parameter, on the meta device where nothing is allocated."""
    from benchmarks.networks import LAYERS, TOKENS, WIDTH, Llama70B

    with torch.device("meta"):
        network = swatcost.trace(Llama70B(), torch.empty(1, TOKENS, WIDTH))
    step = training_memory(network, batch_size=1, optimizer="adamw", precision="mixed", update="fused")
    assert network.parameter_elements == LAYERS * (855_638_016 + 2 * WIDTH) + WIDTH
    assert step.peak.bytes > 16 * network.parameter_elements
    assert step.peak.bytes == pytest.approx(16 * network.parameter_elements, rel=0.01)


def test_views_of_resnet50(resnet50: Network) -> None:
    found = {s: memory_of(resnet50, weights=s, acts=s) for s in (0.8, 0.9)}
    dense = found[0.8].memory.dense.saved_bytes
    for report in found.values():
        assert report.memory.compressed < dense < report.memory.naive  # masked dense tensors cost memory
    assert found[0.9].memory.compressed < found[0.8].memory.compressed
    # 47 of the 49 tensors that SWAT may sparsify are also kept by ReLU, which needs a bit of each element
    kept = [each for each in found[0.8].memory.kept if each.format == "bitmap"]
    assert ([each.signs for each in kept].count(True), len(kept)) == (47, 49)
    by_hand = next(each for each in kept if each.signs)
    elements = by_hand.dense / 4
    assert by_hand.compressed == round(elements / 8 + 0.2 * elements * 4 + elements / 8)  # bitmap, values, ReLU's bits


def test_dense_methods_save_nothing(resnet50: Network) -> None:
    report = memory_of(resnet50, method="dense")
    assert {each.format for each in report.memory.kept} <= {"dense", None}
    assert report.memory.naive_weights.saved_copies == report.memory.compressed_weights.saved_copies == 0
    rigl = memory_of(resnet50, method="rigl", weights=0.8).memory  # its parameters are sparse themselves
    assert rigl.compressed_weights.saved_copies == 0 < rigl.naive_weights.saved_copies


def test_moving_to_the_host(resnet50: Network) -> None:
    report = memory_of(resnet50, weights=0.8, acts=0.8, link="16GB")
    assert report.moving is not None
    assert report.moving[0] == pytest.approx(2 * 2_749_444_868 / 16e9)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--fit", "eleven"], "is not a memory size"),
        (["--optimizer", "lamb"], "unknown optimizer 'lamb'"),
        (["--precision", "fp8"], "unknown precision 'fp8'"),
        (["--batch-size", "0"], "batch_size 0"),
        (["--link", "0"], "give bytes per second with a unit"),
        (["--fit", "0"], "give more than 0"),
        (["--fit", "9" * 400], "give more than 0 and at most"),
        (["--plot", "p.odd"], "a plot is a .png, .svg or .pdf file"),
    ],
)
def test_misuse_of_the_command(args: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memory", "cifar_resnet18", *args]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err


@pytest.mark.parametrize("format", ["table", "json", "csv", "markdown", "latex"])
def test_forms_of_the_command(format: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memory", "resnet50", "--weights", "0.8", "--acts", "0.8", "--fit", "11GB", "--format", format]) == 0
    out = capsys.readouterr().out
    assert out.endswith("\n")
    if format == "json":
        assert json.loads(out)["saved_bytes"] == 2_749_444_868
    elif format == "csv":
        assert out.startswith("part,name,bytes\n")
    else:
        assert "2.749 GB" in out
    if format == "table":
        assert max(map(len, out.splitlines())) <= 80


def test_a_plot_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for ending in ("png", "svg", "pdf"):
        path = tmp_path / f"step.{ending}"
        assert main(["memory", "cifar_resnet18", "--plot", str(path)]) == 0
        assert path.stat().st_size > 1000


@pytest.mark.parametrize("batch", [3, 4, 5, 8])
def test_gradients_do_not_grow_with_the_batch(batch: int) -> None:
    module = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    step = training_memory(swatcost.trace(module, torch.zeros(batch, 64)), batch_size=32)
    assert step.gradients == 4 * (64 * 64 + 64 + 64 * 10 + 10)


def test_a_network_in_half_precision_stays_in_it() -> None:
    module = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).bfloat16()
    network = swatcost.trace(module, input_shape=(64,))
    parameters = 2 * (64 * 32 + 32 + 32 * 10 + 10)
    for precision in ("fp32", "bf16"):
        step = training_memory(network, precision=precision)
        assert (step.constant["parameters"], step.gradients, step.input) == (parameters, parameters, 32 * 64 * 2)


def test_a_frozen_network_saves_nothing() -> None:
    module = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 2)).requires_grad_(False)
    report = memory_of(swatcost.trace(module, input_shape=(8,)), weights=0.5, acts=0.5)
    assert report.memory.naive == report.memory.dense.saved_bytes == report.memory.dense.loss
    assert "dense" in repr(report)


def test_sparse_gradients_are_accepted() -> None:
    module = nn.Sequential(nn.Embedding(50, 16, sparse=True), nn.Linear(16, 4))
    network = swatcost.trace(module, torch.zeros(4, 7, dtype=torch.long))
    assert swatcost.estimate(network, convention="exact").costs.forward.dense == 7 * 16 * 4
