"""Masks that are not drawn: of checkpoints, of a run that really trained, and of filters as uneven as its are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import swatcost
from swatcost.accelerator import MaskSource, from_checkpoint, simulate
from swatcost.accelerator.masks import largest
from swatcost.cli import main
from swatcost.common.errors import SwatcostError
from swatcost.report.simulation import notes

SMALL = """
from torch import nn

def build(num_classes=10):
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 32, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 16, num_classes),
    )
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The record of a short run, with small.py and the checkpoint beside it."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "small.py").write_text(SMALL)
    words = [f"{folder}/small.py:build", "--input-shape", "1,8,8", "--weights", "0.8", "--acts", "0.8"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWATCOST_CACHE_DIR", "")
        assert main(["run", *words, "--steps", "30", "--output", str(folder / "run.jsonl")]) == 0
    return folder / "run.jsonl"


def test_largest_keeps_its_share() -> None:
    assert largest(np.array([3.0, 0.0, 1.0, 2.0]), 0.5).tolist() == [True, False, False, True]
    assert not largest(np.zeros(4), 0.5).any()


def test_masks_of_a_checkpoint(tmp_path: Path) -> None:
    network = swatcost.load("cifar_resnet18")
    numbers = torch.Generator().manual_seed(0)
    state = {each.name: torch.randn(each.shape, generator=numbers) for each in network.parameters}
    torch.save(state, tmp_path / "run.pt")
    found = simulate(network, weights=0.8, masks=from_checkpoint(network, tmp_path / "run.pt"), passes=("forward",))
    drawn = simulate(network, weights=0.8, passes=("forward",))
    assert found.of("forward").speedup == pytest.approx(drawn.of("forward").speedup, rel=0.01)


def test_a_checkpoint_of_pruned_weights_is_walked_without_a_target(tmp_path: Path) -> None:
    """Its own zeros are skipped though nothing asks for more; without them there is nothing to skip."""
    network = swatcost.load("cifar_resnet18")
    state = {each.name: torch.ones(each.shape) for each in network.parameters}
    torch.save(state, tmp_path / "full.pt")
    state["layer1.0.conv1.weight"][:, ::2] = 0
    torch.save(state, tmp_path / "pruned.pt")
    full, pruned = (
        simulate(network, weights=0.0, masks=from_checkpoint(network, tmp_path / name), passes=("forward",))
        for name in ("full.pt", "pruned.pt")
    )
    assert full.of("forward").sparse == full.of("forward").dense
    layer = next(each for each in pruned.layers if each.layer.name == "layer1.0.conv1").passes["forward"]
    # every other lane is zero in every line: the empty slots of one take all of the next, by (1, +1) and (1, −1)
    assert layer.dense == 2 * layer.sparse
    more = "more zeros than the target sparsity"
    assert more in " ".join(notes(pruned))
    assert more not in " ".join(notes(full))


def test_masks_of_a_run(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    network = swatcost.load(f"{trained.parent}/small.py:build", input_shape=(1, 8, 8))
    masks = from_checkpoint(network, trained)
    weights = torch.load(trained.with_suffix(".pt"), weights_only=True)["model"]
    layer = network.weight_layers[1]
    kept = masks.of(layer, 0.8, 1, whole_kernels=False)
    magnitude = weights["3.weight"].abs()
    assert kept.sum() == round(0.2 * magnitude.numel())
    assert magnitude[torch.from_numpy(kept)].min() > magnitude[torch.from_numpy(~kept)].max()
    assert kept.reshape(32, -1).sum(axis=1).std() > 0  # not the same number in every filter

    found = simulate(network, weights=0.8, masks=masks)
    words = [f"{trained.parent}/small.py:build", "--input-shape", "1,8,8", "--weights", "0.8"]
    assert main(["simulate", *words, "--masks", str(trained), "--format", "json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["layers"] == found.to_dict()["layers"]
    assert printed["masks"] == f"Top-K of the weights in {trained.with_suffix('.pt')}"
    assert found.of("forward") != simulate(network, weights=0.8).of("forward")


def test_a_run_of_another_network(trained: Path) -> None:
    with pytest.raises(SwatcostError, match=r"run\.pt"):
        from_checkpoint(swatcost.load("cifar_resnet18"), trained)


def test_uneven_filters_are_slower() -> None:
    even, uneven = (
        simulate("cifar_resnet18", weights=0.9, shape="X8", passes=("forward",), masks=MaskSource(filter_spread=spread))
        for spread in (0.0, 0.4)
    )
    assert uneven.of("forward").speedup < 0.6 * even.of("forward").speedup
