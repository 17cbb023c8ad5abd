"""A simulated step, and an estimate on the same architecture: one cycle model, one answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import swatcost
from swatcost.cli import main
from swatcost.network import Network
from swatcost.simulation.simulation import simulate

SHAPE = (3, 12, 10)
SOURCE = """
from torch import nn


def build():
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 48, 3, stride=2, groups=2), nn.ReLU(),
        nn.ConvTranspose2d(48, 20, 2, stride=2), nn.Flatten(), nn.Linear(1600, 64), nn.ReLU(), nn.Linear(64, 10),
    )
"""

QUESTIONS: list[dict[str, Any]] = [
    {"weights": 0.9},
    {"weights": 0.9, "acts": 0.9},
    {"weights": 0.5, "acts": 0.8, "batch_size": 3},
    {"weights": 0.8, "acts": 0.8, "period": 1},
    {"weights": 0.8, "acts": 0.8, "period": 7, "batch_size": 100},
    {"weights": 0.8, "acts": 0.8, "period": 2, "one_sample": True},
    {"weights": 0.8, "acts": 0.8, "period": 3, "hidden": True},
    {"weights": 0.8, "first_layer": "sparse"},
    {"weights": 0.8, "acts": 0.4, "last_layer": "dense"},
    {"weights": 0.8, "acts": 0.8, "keep_dense": ["2", "6"]},
    {"weights": 0.8, "distribution": "erk"},
    {"weights": 0.8, "acts": 0.3, "distribution": "erk"},
    {"distribution": "nm", "source": "2:4"},
    {"weights": 0.8, "acts": 0.6, "method": "swat-structured"},
    {"weights": 0.9, "method": "rigl", "distribution": "erk", "steps": 1000},
    {"weights": 0.9, "method": "pruning"},
    {"acts": 0.7, "weights": 0.8, "method": "saw", "period": 10},
    {"grads": 0.9, "method": "meprop"},
    {"method": "dense", "batch_size": 5},
    {"weights": 0.0, "acts": 0.0},
    {"weights": 0.95, "convention": "rigl", "default_act_sparsity": 0.2},
]


@pytest.fixture(scope="module")
def network() -> Network:
    names: dict[str, Any] = {}
    exec(SOURCE, names)
    built: nn.Module = names["build"]()
    return swatcost.trace(built, input_shape=SHAPE)


@pytest.mark.parametrize("question", QUESTIONS, ids=str)
def test_a_simulation_and_an_estimate_on_its_architecture_agree(network: Network, question: dict[str, Any]) -> None:
    simulated = simulate(network, **question)
    estimated = swatcost.estimate(network, device="bit-tactical", **question)
    assert simulated.speedup == pytest.approx(estimated.speedup, rel=1e-12)
    assert simulated.training.speedup == pytest.approx(estimated.speedup_limit, rel=1e-12)
    assert simulated.times.sparse_step_seconds == pytest.approx(estimated.sparse_step_seconds, rel=1e-12)
    assert simulated.times.break_even_period() == estimated.break_even_period
    assert simulated.ideal_speedup == pytest.approx(
        estimated.exact.training.dense / estimated.exact.training.sparse, rel=1e-12
    )
    assert simulated.topk_cycles == estimated.topk_seconds * simulated.architecture.clock


def test_a_hidden_selection_adds_what_its_period_does_not_cover(network: Network) -> None:
    for period in (1, 10**9):
        shown, hidden = (simulate(network, weights=0.8, acts=0.8, period=period, hidden=each) for each in (False, True))
        sparse = hidden.training.sparse * 32
        assert shown.step_cycles == pytest.approx(sparse + shown.topk_cycles / period)
        assert hidden.step_cycles == pytest.approx(max(sparse, shown.topk_cycles / period))
    assert sparse > shown.topk_cycles / period  # the second period is long enough


def test_an_estimate_can_be_simulated(network: Network) -> None:
    estimate = swatcost.estimate(network, weights=0.8, acts=0.8, period=4)
    assert simulate(estimate).speedup == simulate(network, weights=0.8, acts=0.8, period=4).speedup
    alone = simulate(network, weights=0.8, acts=0.8, period=4).estimate
    for device in ("a100", "bit-tactical"):  # what it was estimated on leaves nothing behind
        elsewhere = simulate(swatcost.estimate(network, weights=0.8, acts=0.8, period=4, device=device)).estimate
        assert elsewhere.to_dict() == alone.to_dict()
    with pytest.raises(swatcost.SwatcostError, match="period: an Estimate has its settings already"):
        simulate(estimate, period=4)


@pytest.mark.parametrize(
    "words",
    [
        "--weights 0.9 --acts 0.9",
        "--weights 0.8 --acts 0.5 --method saw --period 3 --batch-size 7",
        "--weights 0.8 --acts 0.5 --distribution erk --last-layer dense",
        "--weights 0.9",
        "--weights 0.9 --method swat-structured",
    ],
)
def test_simulate_and_an_estimate_on_the_architecture_agree_on_the_command_line(
    words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "nets.py").write_text(SOURCE)
    asked = [f"{tmp_path}/nets.py:build", "--input-shape", "3,12,10", *words.split(), "--format", "json"]
    assert main(["simulate", *asked]) == 0
    simulated = json.loads(capsys.readouterr().out)["step"]["speedup"]
    assert main([*asked, "--device", "bit-tactical"]) == 0
    assert simulated == pytest.approx(json.loads(capsys.readouterr().out)["totals"]["speedup"], rel=1e-12)
