"""Solving for a goal, against estimates at and just below what is found."""

from __future__ import annotations

import json
from math import ceil
from typing import Any

import pytest
from click.testing import CliRunner

import swatcost
from swatcost.cli import cli
from swatcost.common.errors import SwatcostError
from swatcost.network import Network
from swatcost.planning import memory_of, solution
from swatcost.planning.goals import STEP, OperatingPoint
from swatcost.report.numbers import percent


def _estimate(network: Network, at: OperatingPoint, less: float = 0.0, **settings: Any) -> swatcost.Estimate:
    targets = {name: getattr(at, name) for name in ("weights", "acts", "grads")}
    lower = {name: round(value - less, 6) for name, value in targets.items() if value is not None}
    return swatcost.estimate(network, period=at.period, **lower, **settings)


@pytest.mark.parametrize("method", ["swat", "rigl", "meprop", "dsg", "saw", "swat-structured", "pruning"])
@pytest.mark.parametrize("convention", ["swat", "exact"])
def test_the_least_setting_reaches_the_goal_and_one_step_less_does_not(
    method: str, convention: str, resnet50: Network
) -> None:
    goal = {"pruning": 0.7, "meprop": 0.6, "dsg": 0.5, "saw": 0.6}.get(method, 0.4)
    settings: dict[str, Any] = {"method": method, "convention": convention}
    found = solution(resnet50, training_flops=goal, **settings).least
    assert found is not None
    at, below = _estimate(resnet50, found, **settings), _estimate(resnet50, found, STEP, **settings)
    assert 1 - at.training_reduction <= goal < 1 - below.training_reduction
    assert found.training_flops == pytest.approx(1 - at.training_reduction)
    assert found.speedup == pytest.approx(at.speedup)


@pytest.mark.parametrize("distribution", ["uniform", "er", "erk"])
def test_speedup_with_topk(distribution: str, resnet50: Network) -> None:
    settings = {"distribution": distribution}
    found = solution(resnet50, speedup=3, period=100, **settings).least
    assert found is not None
    assert found.period == 100
    assert _estimate(resnet50, found, **settings).speedup >= 3 > _estimate(resnet50, found, STEP, **settings).speedup


@pytest.mark.parametrize(
    ("settings", "goal"),
    [
        ({"distribution": "erk", "first_layer": "dense"}, 3),
        ({"distribution": "er", "keep_dense": ["layer4*"]}, 1.3),
        ({"distribution": "erk", "method": "set"}, 2),
    ],
)
def test_layers_that_stay_dense_bound_what_is_looked_for(
    settings: dict[str, Any], goal: float, resnet50: Network
) -> None:
    found = solution(resnet50, speedup=goal, **settings)
    assert found.least is not None
    assert _estimate(resnet50, found.least, **settings).speedup >= goal
    assert _estimate(resnet50, found.least, STEP, **settings).speedup < goal


def test_the_limit_is_the_last_sparsity_that_layers_kept_dense_allow(resnet50: Network) -> None:
    kept = sum(each.weight_elements for each in resnet50.weight_layers if each.name.startswith("layer4"))
    free = 1 - kept / 25_502_912
    beyond = solution(resnet50, speedup=50, distribution="erk", keep_dense=["layer4*"])
    assert beyond.limit is not None
    assert free - STEP < (beyond.limit.weights or 0) < free
    only_overhead = solution(resnet50, topk_overhead=0.01, distribution="erk", keep_dense=["layer4*"])
    assert only_overhead.freedom[-1].weights == beyond.limit.weights


def test_where_memory_needs_sparsity_the_speedup_holds_there_too(resnet50: Network) -> None:
    # at period 1 a Top-K takes three dense steps (Table 10: 470 and 147 ms): only the dense step is as fast as itself
    assert solution(resnet50, speedup=1, period=1).reached
    both = solution(resnet50, speedup=1, memory="2.7GB", period=1)
    assert both.least is None
    assert both.unreached == ("speedup",)
    easier = solution(resnet50, speedup=2, memory="2.7GB").least
    assert easier is not None
    assert easier.speedup >= 2
    assert easier.memory_bytes is not None
    assert easier.memory_bytes <= 2.7e9


@pytest.mark.parametrize(("name", "source"), [("file", {"conv1": 0.5}), ("nm", "2:4"), ("nm", None), ("mask", None)])
def test_a_distribution_that_says_how_sparse_weights_are_is_named(name: str, source: Any, resnet50: Network) -> None:
    with pytest.raises(SwatcostError, match=f"distribution '{name}' leaves no weight sparsity to solve for") as said:
        solution(resnet50, speedup=2, distribution=name, source=source)
    assert "leave weights out" not in str(said.value)  # nobody gave them


def test_an_unknown_optimizer_is_refused_whatever_the_goal(resnet50: Network) -> None:
    with pytest.raises(SwatcostError, match="unknown optimizer 'adamm'"):
        solution(resnet50, speedup=2, optimizer="adamm")
    with pytest.raises(SwatcostError, match="unknown precision 'fp23'"):
        solution(resnet50, speedup=2, precision="fp23")


def test_table_3_backwards(resnet50: Network) -> None:
    # 76.12 % fewer at 80 % and 85.63 % at 90 % (FACTS: swat); what is left, rounded up
    for left, sparsity in ((0.2389, 0.8), (0.1438, 0.9)):
        least = solution(resnet50, training_flops=left).least
        assert least is not None
        assert least.weights == pytest.approx(sparsity, abs=2e-4)


def test_a_small_network_by_hand() -> None:
    from torch import nn

    # two linear layers of 100 MACs; the first is dense. Under exact: dense first 100 forward and 100 grad_weight,
    # second 3 passes of 100 of which each costs 1 − s: 200 + 300 · (1 − s) of 500
    module = nn.Sequential(nn.Linear(10, 10, bias=False), nn.Linear(10, 10, bias=False))
    network = swatcost.trace(module, input_shape=(10,))
    found = solution(network, training_flops=0.7, convention="exact")
    assert found.least is not None
    assert found.least.weights == found.least.acts == 0.5  # 200 + 150 = 350 = 0.7 · 500
    out_of_reach = solution(network, training_flops=0.39, convention="exact")
    assert out_of_reach.unreached == ("training_flops",)
    assert out_of_reach.limit is not None
    assert out_of_reach.limit.training_flops == pytest.approx(0.4, abs=1e-3)


def test_every_point_of_the_iso_line_is_needed_as_it_is(resnet50: Network) -> None:
    found = solution(resnet50, speedup=4)
    assert len(found.freedom) >= 4
    for each in found.freedom:
        assert each.acts is not None
        assert swatcost.estimate(resnet50, weights=each.weights, acts=each.acts).speedup >= 4
        if each.acts:
            below = swatcost.estimate(resnet50, weights=each.weights, acts=round(each.acts - STEP, 6))
            assert below.speedup < 4
    acts = [each.acts for each in found.freedom]
    assert acts == sorted(acts, reverse=True)  # type: ignore[type-var]


def test_what_is_given_is_fixed(resnet50: Network) -> None:
    found = solution(resnet50, training_flops=0.4, weights=0.8)
    assert found.free == ("acts",)
    assert found.least is not None
    assert found.least.weights == 0.8
    assert swatcost.estimate(resnet50, weights=0.8, acts=found.least.acts).training_reduction >= 0.6


def test_a_period_is_solved_for_where_nothing_else_moves(resnet50: Network) -> None:
    found = solution(resnet50, weights=0.8, acts=0.8, speedup=4).least
    assert found is not None
    # Eq. 7: P ≥ S · t_topk / (t − S · (1 − r) · t) = 4 · 470 / (147 − 4 · 0.238834 · 147) = 286.4
    assert found.period == 287
    assert swatcost.estimate(resnet50, weights=0.8, acts=0.8, period=286).speedup < 4


def test_overhead_gives_the_period(resnet50: Network) -> None:
    found = solution(resnet50, weights=0.8, acts=0.8, topk_overhead=0.01).least
    assert found is not None
    # 470 / (0.01 · 0.238834 · 147) = 1338.7
    assert found.period == 1339
    several = solution(resnet50, topk_overhead=0.01)
    assert several.least is None
    assert several.reached
    for each in several.freedom:
        one = swatcost.estimate(resnet50, weights=each.weights, acts=each.acts)
        sparse = (1 - one.training_reduction) * one.dense_step.seconds
        assert each.period == ceil(one.topk_seconds / (0.01 * sparse))


def test_memory(resnet50: Network) -> None:
    found = solution(resnet50, memory="2.2GB").least
    assert found is not None
    assert found.memory_bytes is not None
    for less, fits in ((0.0, True), (STEP, False)):
        sparsity = round((found.weights or 0) - less, 6)
        view = memory_of(resnet50, weights=sparsity, acts=sparsity).memory
        assert (view.compressed_peak <= 2_200_000_000) == fits
    assert solution(resnet50, memory="1GB").unreached == ("memory_bytes",)
    dense = solution(resnet50, memory="11GB").least
    assert dense is not None
    assert dense.weights == 0  # it fits as it is


def test_memory_that_sparse_weights_save() -> None:
    """SET's activations are dense, so its weights alone decide what fits."""
    found = solution("cifar_vgg16", memory="250MB", method="set").least
    assert found is not None
    views = {less: memory_of("cifar_vgg16", method="set", weights=round((found.weights or 0) - less, 6)).memory
             for less in (0.0, STEP)}  # fmt: skip
    assert found.memory_bytes == views[0.0].compressed_peak <= 250_000_000 < views[STEP].compressed_peak


@pytest.mark.parametrize("source", ["2:8", None])
def test_memory_of_a_pattern(source: str | None) -> None:
    """What a search finds takes the bytes that `memory` reports: places among 8 take 3 bits, among 4 two."""
    pattern: dict[str, Any] = {"distribution": "nm", "source": source, "weights": 0.75}
    found = solution("cifar_resnet18", memory="250MB", **pattern).least
    assert found is not None
    view = memory_of("cifar_resnet18", acts=found.acts, **pattern).memory
    assert view.compressed < view.dense.saved_bytes
    assert found.memory_bytes == view.compressed_peak


def test_several_goals_are_all_reached(resnet50: Network) -> None:
    found = solution(resnet50, speedup=2, memory="2.2GB").least
    assert found is not None
    alone = solution(resnet50, memory="2.2GB").least
    assert alone is not None
    assert found.weights == alone.weights  # memory asks for more
    assert found.speedup > 2


def test_solve_gives_a_frame_or_says_what_the_limit_is(resnet50: Network) -> None:
    frame = swatcost.solve(resnet50, speedup=4)
    assert frame["what"].tolist()[0] == "least"
    assert (frame["speedup"] >= 4).all()
    with pytest.raises(SwatcostError, match=r"an ideal speedup of at most 0\.31×"):
        swatcost.solve(resnet50, speedup=2, period=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "nothing to solve for"),
        ({"speedup": 0}, "speedup 0"),
        ({"training_flops": 1.5}, "training FLOPs 1.5"),
        ({"speedup": 2, "method": "dense"}, "makes nothing sparse"),
        ({"topk_overhead": 0.01, "period": 5}, "leave one of the two out"),
        ({"memory": "lots"}, "not a memory size"),
        ({"speedup": 2, "acts": 0.5, "method": "rigl"}, "no sparse activations"),
        ({"topk_overhead": 0.01, "method": "rigl"}, "selects nothing by Top-K"),
    ],
)
def test_what_cannot_be_used(settings: dict[str, Any], message: str, resnet50: Network) -> None:
    with pytest.raises(SwatcostError, match=message):
        solution(resnet50, **settings)


def test_the_command() -> None:
    done = CliRunner().invoke(cli, ["solve", "resnet50", "--training-flops", "30%", "--format", "json"])
    assert done.exit_code == 0
    content = json.loads(done.stdout)
    assert content["reached"] is True
    assert content["least"]["training_flops"] <= 0.3
    out_of_reach = CliRunner().invoke(cli, ["solve", "resnet50", "--speedup", "100"], standalone_mode=True)
    assert out_of_reach.exit_code == 1
    assert "out of reach" in out_of_reach.stdout


@pytest.mark.parametrize("goal", [{"speedup": 4.0}, {"topk_overhead": 0.02}])
def test_periods_are_the_shortest_that_do_also_when_hidden(goal: dict[str, float], resnet50: Network) -> None:
    for hidden in (False, True):
        found = solution(resnet50, weights=0.8, acts=0.8, hidden=hidden, **goal).least
        assert found is not None
        at, before = (
            swatcost.estimate(resnet50, weights=0.8, acts=0.8, period=period, hidden=hidden)
            for period in (found.period, found.period - 1)
        )
        sparse = (1 - at.training_reduction) * at.dense_step.seconds
        reached = [
            each.speedup >= goal["speedup"]
            if "speedup" in goal
            else each.dense_step.seconds / each.speedup / sparse - 1 <= goal["topk_overhead"]
            for each in (at, before)
        ]
        assert reached == [True, False]


@pytest.mark.parametrize("speedup", ["2x", "2.00×"])
def test_a_speedup_is_read_as_it_is_printed(speedup: str) -> None:
    done = CliRunner().invoke(cli, ["solve", "resnet50", "--speedup", speedup, "--format", "json"])
    assert json.loads(done.stdout)["goals"]["speedup"] == 2


def test_what_exact_needs_is_a_sparsity_and_stands_beside_one(resnet50: Network) -> None:
    found, exact = (solution(resnet50, speedup=3, convention=each) for each in ("swat", "exact"))
    assert exact.least is not None
    (line,) = (each for each in str(found).splitlines() if each.startswith("equal sparsities"))
    assert f"({percent(exact.least.weights)} under exact)" in line
    assert str(found).count("under exact") == 1  # nothing else is taken for it
