"""Many estimates at once, against estimates one by one."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy
import pytest
from click.testing import CliRunner

import swatcost
from swatcost.cli import cli
from swatcost.methods import METHODS
from swatcost.methods.method import OPERANDS
from swatcost.network import Network

from .by_hand import applies, everywhere
from .conftest import zoo_network

SAME = (
    "training_reduction",
    "inference_reduction",
    "activation_reduction",
    "weight_sparsity",
    "model_compression",
    "topk_seconds",
    "speedup",
    "speedup_limit",
)


def assert_rows_are_estimates(network: Network, frame: Any, asked: set[str], **settings: Any) -> None:
    for row in frame.to_dict("records"):
        given = {each: row[each] for each in asked}
        choices = {each: row[each] for each in ("method", "distribution", "convention", "batch_size", "period")}
        one = swatcost.estimate(network, **given, **choices, **settings)
        for name in SAME:
            assert row[name] == pytest.approx(getattr(one, name), rel=1e-9, abs=1e-12), (name, given, choices)
        assert row["training_macs"] == pytest.approx(one.costs.training.sparse)
        assert row["dense_step_seconds"] == pytest.approx(one.dense_step.seconds)
        periods = (one.break_even_period, row["break_even_period"])
        assert periods[0] == periods[1] or (periods[0] is None and math.isnan(periods[1]))


@pytest.mark.parametrize("distribution", ["er", "erk"])
@pytest.mark.parametrize("kept", [{"first_layer": "dense"}, {"last_layer": "dense"}, {"keep_dense": ["layer4*"]}])
def test_a_fine_grid_where_layers_stay_dense(distribution: str, kept: dict[str, Any], resnet50: Network) -> None:
    weights = numpy.linspace(0, 0.4, 101)
    frame = swatcost.sweep(resnet50, weights=weights, distribution=distribution, **kept)
    assert_rows_are_estimates(resnet50, frame.iloc[::25], {"weights"}, **kept)


@pytest.mark.parametrize("distribution", ["uniform", "er", "erk"])
def test_random_settings_in_pairs(distribution: str, resnet50: Network) -> None:
    random = numpy.random.default_rng(1)
    frame = swatcost.sweep(
        resnet50,
        weights=random.uniform(0, 0.99, 300),
        acts=random.uniform(0, 0.99, 300),
        period=random.integers(1, 3000, 300),
        distribution=distribution,
        paired=True,
    )
    assert len(frame) == 300
    assert_rows_are_estimates(resnet50, frame[::10], {"weights", "acts"})


@pytest.mark.parametrize("method", METHODS.names())
@pytest.mark.parametrize("convention", ["swat", "exact", "rigl"])
def test_every_method(method: str, convention: str) -> None:
    network = next(each for each in map(zoo_network, ("cifar_resnet18", "vit_b_16")) if applies(method, each))
    asked = {name for name, operand in OPERANDS.items() if METHODS[method].uses(operand)}
    frame = swatcost.sweep(
        network,
        **{name: [0.0, 0.5, 0.75 if METHODS[method].group else 0.9] for name in asked},
        period=[1, 100],
        method=method,
        convention=convention,
        **everywhere(method),
    )
    assert len(frame) == 3 ** len(asked) * 2
    assert_rows_are_estimates(network, frame, asked, **everywhere(method))


def test_every_choice_is_combined() -> None:
    network = zoo_network("vit_b_16")
    frame = swatcost.sweep(
        network,
        weights=[0.5, 0.8],
        acts=0.5,
        method=["swat", "swat-structured"],
        distribution=["uniform", "erk"],
        convention=["swat", "exact"],
        batch_size=[8, 32],
    )
    assert len(frame) == 2 * 2 * 2 * 2 * 2
    assert not frame.duplicated().any()
    assert_rows_are_estimates(network, frame, {"weights", "acts"})


def test_activations_follow_where_the_distribution_has_it_so(resnet50: Network) -> None:
    frame = swatcost.sweep(resnet50, weights=[0.8, 0.9], distribution=["erk", "uniform"])
    assert_rows_are_estimates(resnet50, frame, {"weights"})


def test_a_function_and_shares_by_layer() -> None:
    network = zoo_network("cifar_vgg16")

    def halves(layers: Any, target: float | None) -> list[float]:
        return [(target or 0) / 2] * len(layers)

    frame = swatcost.sweep(network, weights=[0.6, 0.8], distribution=halves)
    assert [round(each, 12) for each in frame["weight_sparsity"]] == [0.3, 0.4]
    shares = {layer.name: 1.0 + place for place, layer in enumerate(network.weight_layers)}
    frame = swatcost.sweep(network, weights=[0.6, 0.8], distribution="momentum", source=shares)
    assert_rows_are_estimates(network, frame, {"weights"}, source=shares)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": [0.5, 1.0]}, "weights 1.0 is not a sparsity"),
        ({"weights": numpy.array([0.5, 1.5])}, "weights 1.5 is not a sparsity"),
        ({"weights": numpy.array([0.5, math.nan])}, "weights nan is not a sparsity"),
        ({"weights": []}, "weights: give at least one"),
        ({"weights": [0.5], "method": []}, "method: give at least one"),
        ({"weights": [0.5], "period": [1, 0]}, "period 0"),
        (
            {"weights": [0.5, 0.6], "acts": [0.1, 0.2, 0.3], "paired": True},
            "paired settings have to be equally many, not 2 and 3",
        ),
        ({"grads": [0.5]}, "has no sparse outputs"),
        ({"weights": [0.5], "method": ["swat", "swatt"]}, "unknown method 'swatt'"),
        ({"weights": [0.01, 0.5], "distribution": "erk", "keep_dense": ["layer4*", "fc"]}, "cannot be reached"),
    ],
)
def test_what_an_estimate_refuses_is_refused(settings: dict[str, Any], message: str, resnet50: Network) -> None:
    with pytest.raises(swatcost.SwatcostError, match=message):
        swatcost.sweep(resnet50, **settings)


def test_targets_that_a_method_cannot_use_are_for_the_others(resnet50: Network) -> None:
    settings: dict[str, Any] = {"weights": [0.5, 0.9], "acts": [0.5, 0.8, 0.9], "period": [1, 1000]}
    frame = swatcost.sweep(resnet50, method=["swat", "rigl"], **settings)
    # swat 2 · 3 · 2 and rigl, which leaves activations alone, 2 · 2
    assert frame.groupby("method").size().to_dict() == {"swat": 12, "rigl": 4}
    assert frame[frame["method"] == "rigl"]["acts"].isna().all()
    assert_rows_are_estimates(resnet50, frame[frame["method"] == "rigl"], {"weights"})
    paired = swatcost.sweep(resnet50, method=["swat", "rigl"], weights=[0.5, 0.9], acts=[0.6, 0.8], paired=True)
    assert paired["weights"].tolist() == [0.5, 0.9, 0.5, 0.9]
    assert paired["acts"].isna().tolist() == [False, False, True, True]
    with pytest.raises(swatcost.SwatcostError, match="no sparse activations"):
        swatcost.sweep(resnet50, method="rigl", weights=0.9, acts=[0.5, 0.8])


def test_an_architecture_is_not_a_profile(resnet50: Network) -> None:
    with pytest.raises(swatcost.SwatcostError, match="simulated one setting at a time"):
        swatcost.sweep(resnet50, weights=0.9, device="bit-tactical")


def test_the_command_writes_every_row(tmp_path: Path) -> None:
    import pandas

    arguments = ["sweep", "cifar_resnet18", "--weights", "0.5:0.9:0.1", "--acts", "80%", "--period", "1,1k"]
    for name in ("grid.csv", "grid.parquet"):
        done = CliRunner().invoke(cli, [*arguments, "--output", str(tmp_path / name)])
        assert done.exit_code == 0, done.output
    grid = swatcost.sweep("cifar_resnet18", weights=[0.5, 0.6, 0.7, 0.8, 0.9], acts=0.8, period=[1, 1000])
    pandas.testing.assert_frame_equal(pandas.read_parquet(tmp_path / "grid.parquet"), grid, check_dtype=False)
    pandas.testing.assert_frame_equal(pandas.read_csv(tmp_path / "grid.csv"), grid, check_dtype=False)
    shown = CliRunner().invoke(cli, arguments)
    assert shown.stdout.count("1,000") == 5
    wrong = CliRunner().invoke(cli, [*arguments[:2], "--weights", "0.9:0.5:0.1"])
    assert wrong.exit_code == 2


def test_json_has_null_for_what_is_missing() -> None:
    done = CliRunner().invoke(
        cli,
        ["sweep", "cifar_resnet18", "--weights", "0.9", "--method", "rigl,swat", "--acts", "0.5", "--format", "json"],
    )
    rows = json.loads(done.stdout)["rows"]
    assert [row["acts"] for row in rows] == [None, 0.5]
