"""Whole runs: arithmetic written out."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

import swatcost
from swatcost.cli import cli, main
from swatcost.common.errors import SwatcostError
from swatcost.devices import load_device
from swatcost.network import Network
from swatcost.planning import memory_of, plan_run
from swatcost.planning.recipes import DATASETS, RECIPES

ALONE = replace(load_device("rtx2080ti"), link_bytes_per_second=None)
"""The paper's GPU, with nothing known about how it is connected."""


def test_table_14_by_hand(resnet50: Network) -> None:
    found = plan_run(resnet50, weights=0.8, acts=0.8, price=0.5, device=ALONE)
    assert found.recipe is not None
    assert found.recipe.source == "SWAT, Table 14"
    assert found.iterations == 90 * 5005  # ceil(1,281,167 / 256) = 5005
    assert found.estimate.batch_size == 32  # 256 over 8
    assert found.topk_refreshes == 451  # ceil(450,450 / 1000)
    # 147 ms a dense step of 32 (Table 10)
    assert found.seconds.dense == pytest.approx(450_450 * 0.147)
    assert found.seconds.sparse == pytest.approx(450_450 * 0.147 * 0.2388339831 + 451 * 0.470, rel=1e-8)
    # 66,216.15 / (66,216.15 · 0.2388339831 + 451 · 0.470 = 16,026.64); of that 211.97 are Top-K
    assert found.speedup == pytest.approx(66_216.15 / 16_026.64, rel=1e-6)
    assert found.topk_share == pytest.approx(211.97 / 16_026.64, rel=1e-6)
    assert found.training_flops.dense == 2 * 14_586_888_192 * 1_281_167 * 90
    assert found.gpu_hours.dense == pytest.approx(8 * 66_216.15 / 3600)
    assert found.energy_kwh is not None
    assert found.energy_kwh.dense == pytest.approx(8 * 250 * 66_216.15 / 3.6e6)
    assert found.co2_kg is not None
    assert found.co2_kg.dense == pytest.approx(0.475 * 36.78675)
    assert found.money is not None
    assert found.money.dense == pytest.approx(0.5 * 147.147)
    # a ring all-reduce of the gradients, and the buffers: mean, variance of 26,560 features, a counter per norm
    assert found.traffic_bytes.dense == 2 * 7 / 8 * 102_228_128 + 2 * 4 * 26_560 + 53 * 8
    assert found.traffic_bytes.sparse == found.traffic_bytes.dense  # SWAT updates every weight
    assert found.traffic_seconds is None  # the link is not known


def test_recipes_are_the_papers() -> None:
    # Tables 12 to 14: epochs, mini-batch, GPUs, period
    printed = {
        "imagenet": (90, 256, 8, 1000), "imagenet-structured": (90, 256, 8, 1000), "cifar": (150, 128, 1, 1),
        "cifar-densenet": (150, 64, 1, 1), "cifar-wrn": (200, 128, 1, 1),
    }  # fmt: skip
    assert {name: (r.epochs, r.batch_size, r.gpus, r.period) for r in RECIPES for name in [r.name]} == printed
    assert all(each.dataset in DATASETS.names() for each in RECIPES)
    assert all(first[0] == 1 for each in RECIPES for first in each.learning_rate[:1])
    wide = plan_run("cifar_wrn_28_10", weights=0.9, acts=0.9)
    assert "last layer" in set(wide.estimate.plan.kept_dense.values())


def test_what_is_given_goes_before_the_recipe(resnet50: Network) -> None:
    found = plan_run(resnet50, epochs=1, samples=1000, batch_size=100, gpus=2, period=7, method="rigl", weights=0.8)
    assert found.iterations == 10
    assert found.estimate.batch_size == 50
    assert found.estimate.plan.method.name == "rigl"
    assert found.topk_refreshes == 0


@pytest.mark.parametrize("method", ["swat", "rigl", "set", "snfs", "dst", "pruning", "dense"])
@pytest.mark.parametrize("convention", ["swat", "exact", "rigl"])
def test_the_curves_mean_is_the_estimates_cost(method: str, convention: str, resnet50: Network) -> None:
    weights = None if method == "dense" else 0.9
    found = plan_run(resnet50, weights=weights, method=method, convention=convention)
    curve = found.curve()
    assert curve[0].begin == 0
    assert curve[-1].end == pytest.approx(1)
    mean = sum((each.end - each.begin) * each.training_macs for each in curve)
    assert mean == pytest.approx(found.estimate.costs.training.sparse)


def test_pruning_starts_dense_and_ends_sparse(resnet50: Network) -> None:
    curve = plan_run(resnet50, weights=0.9, method="pruning", convention="exact").curve()
    sparsities = [each.weight_sparsity for each in curve]
    assert sparsities[0] == 0
    assert sparsities == sorted(sparsities)
    costs = [each.training_macs for each in curve]
    assert costs == sorted(costs, reverse=True)


def test_gradients_of_active_weights_travel_only_when_they_do(resnet50: Network) -> None:
    static = plan_run(resnet50, weights=0.8, method="set", keep_dense=())
    dense, inactive = static.gradient_bytes.dense, 4 * 0.8 * (25_502_912 - 9_408)
    assert static.gradient_bytes.sparse == pytest.approx(dense - inactive)
    rigl = plan_run(resnet50, weights=0.8, method="rigl")
    # floor(25/32 · 450,450 / 100) + 1 = 3520 of 450,450 steps need every gradient
    assert rigl.gradient_bytes.sparse == pytest.approx(dense - (1 - 3520 / 450_450) * inactive)
    gradual = plan_run(resnet50, weights=0.8, method="pruning")
    assert static.gradient_bytes.sparse < gradual.gradient_bytes.sparse < dense


def test_the_peak_is_of_the_steps_that_take_the_most(resnet50: Network) -> None:
    """RigL's with dense gradients, pruning's first ones, which are dense; SET's and SWAT's are all alike."""
    most = {  # on 8 GPUs, which all hold everything
        "rigl": memory_of(resnet50, weights=0.8, method="rigl", gpus=8).memory.dense_gradient_peak,
        "pruning": memory_of(resnet50, weights=0.0, method="pruning", gpus=8).memory.compressed_peak,
        "set": memory_of(resnet50, weights=0.8, method="set", gpus=8).memory.compressed_peak,
        "swat": memory_of(resnet50, weights=0.8, method="swat", gpus=8).memory.compressed_peak,
    }
    for method, peak in most.items():
        assert plan_run(resnet50, weights=0.8, method=method).peak_bytes.sparse == peak


def test_what_cannot_be_used(resnet50: Network) -> None:
    small = swatcost.load("cifar_wrn_16_8")
    with pytest.raises(SwatcostError, match="no recipe for this network: give epochs and dataset or samples"):
        plan_run(small)
    with pytest.raises(SwatcostError, match="cannot split it evenly"):
        plan_run(resnet50, batch_size=100, gpus=8)
    with pytest.raises(SwatcostError, match="unknown dataset 'imagnet'"):
        plan_run(resnet50, dataset="imagnet")
    with pytest.raises(SwatcostError, match="leave one of the two out"):
        plan_run(resnet50, dataset="imagenet", samples=5)
    with pytest.raises(SwatcostError, match=r"pue 0\.5"):
        plan_run(resnet50, pue=0.5)


@pytest.mark.parametrize("option", ["epochs", "batch-size", "gpus", "period"])
def test_zero_is_refused_rather_than_treated_as_unset(option: str, resnet50: Network) -> None:
    name = option.replace("-", "_")
    with pytest.raises(SwatcostError, match=f"{name} 0: give a whole number"):
        plan_run(resnet50, **{name: 0})  # type: ignore[arg-type]
    with pytest.raises(SwatcostError, match="unknown dataset ''"):
        plan_run(resnet50, dataset="")


def test_a_network_without_a_recipe_is_planned_with_what_is_built_in() -> None:
    given = ["--epochs", "2", "--samples", "100", "--batch-size", "50", "--weights", "0.8", "--acts", "0.8"]
    done = CliRunner().invoke(cli, ["plan", "cifar_wrn_16_8", *given, "--format", "json"])
    assert done.exception is None, done.exception
    content = json.loads(done.stdout)
    assert content["recipe"] is None
    assert content["iterations"] == 4
    assert content["step"]["method"] == "swat"
    assert content["step"]["topk_period"] == 1000


def test_the_notes_of_a_plan_say_whose_steps_they_count(resnet50: Network) -> None:
    # a GPU's share of 256 over 8 is 32; 8 of those shares are the run of the table
    found = plan_run(resnet50, weights=0.8, method="rigl")
    said = " ".join(found.to_dict()["assumptions"])
    assert f"{90 * 5005:,} steps of 32 samples take" in said


def test_the_command_adds_up() -> None:
    arguments = ["plan", "resnet50", "--weights", "80%", "--acts", "80%", "--device", "xeon2", "--gpus", "1"]
    done = CliRunner().invoke(cli, [*arguments, "--format", "json"])
    assert done.exit_code == 0, done.output
    content = json.loads(done.stdout)
    assert content["run"]["energy_kwh"] is None  # its power is unknown
    assert content["run"]["seconds"]["dense"] == pytest.approx(
        content["iterations"] * content["step"]["totals"]["dense_step_seconds"]
    )
    said = " ".join(CliRunner().invoke(cli, arguments).stdout.split())
    assert "No energy: the profile of xeon2 gives no power; set watts." in said


@pytest.mark.parametrize(
    ("arguments", "currency"),
    [(["$2"], "USD"), (["2 EUR"], "EUR"), (["2", "--currency", "CHF"], "CHF"), (["2"], "USD"), (["$2.00"], "USD")],
)
def test_a_price_states_its_currency(arguments: list[str], currency: str) -> None:
    done = CliRunner().invoke(cli, ["plan", "resnet50", "--format", "json", "--price", *arguments])
    content = json.loads(done.stdout)
    assert (content["price"], content["currency"]) == (2, currency)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["$2", "--currency", "EUR"], "the price is in USD"), (["two"], "'two' is not a price: give one such as 2.5")],
)
def test_prices_that_cannot_be_used(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "resnet50", "--price", *arguments]) == 2
    assert message in capsys.readouterr().err
