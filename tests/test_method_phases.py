"""Phases with a sparsity of their own: what the network's layers have in them, and what that costs."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import swatcost
from swatcost.common.errors import SwatcostError
from swatcost.counting import CONVENTIONS
from swatcost.methods import METHODS, LayerSparsity, Method, Phase, bound, sparse_in
from swatcost.network import Network
from swatcost.planning import memory_of, plan_run


def mine(**more: Any) -> Method:
    """Sparse weights in forward and grad_input, the gradients of active weights."""
    fields = {"weight_gradient": "active", "sparse": sparse_in(forward=("weight",), grad_input=("weight",)), **more}
    return Method(name="mine", title="", citation="", **fields)


def growing(steps: int, target: Any, *, first: float) -> tuple[Phase, ...]:
    """From `first` to the target in four quarters, as GraNet does."""
    return tuple(Phase.at(1 / 4, first + (target - first) * part / 3, target) for part in range(4))


def above(steps: int, target: Any) -> tuple[Phase, ...]:
    """0.02 sparser than the target, then 0.01, then at the target."""
    return tuple(
        Phase.at(share, target + more, target) for share, more in ((9 / 16, 0.02), (3 / 16, 0.01), (4 / 16, 0))
    )


def alternating(steps: int) -> tuple[Phase, ...]:
    """Dense and sparse in turns, as AC/DC."""
    return tuple(Phase(1 / 8, float(part % 2)) for part in range(8))


@pytest.mark.parametrize("distribution", ["uniform", "er", "erk", "global-of-none"])
@pytest.mark.parametrize("dense_budget", ["inside", "outside"])
@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (bound(growing, first=0.0), [0, 0.3, 0.6, 0.9]),
        (bound(growing, first=0.6), [0.6, 0.7, 0.8, 0.9]),
        (above, [0.92, 0.91, 0.9]),
    ],
)
def test_every_phase_has_the_networks_total(
    resnet50: Network, distribution: str, dense_budget: Any, schedule: Callable[..., Any], expected: list[float]
) -> None:
    if distribution == "global-of-none":
        distribution = "uniform"
        more = {"first_layer": "sparse"}
    else:
        more = {"keep_dense": ["layer1.*"]}
    plan = swatcost.estimate(
        resnet50, weights=0.9, method=mine(target_schedule=schedule), distribution=distribution,
        dense_budget=dense_budget if distribution in ("er", "erk") else None, **more,
    ).plan  # fmt: skip
    found = []
    for phase in plan.phases(32_000):
        now = plan.during(phase)
        outside = distribution == "uniform" or dense_budget == "outside"
        found.append(now.sparsity_but_kept_dense(resnet50) if outside else now.weight_sparsity(resnet50))
    assert found == pytest.approx(expected, rel=1e-12)
    assert all(
        (now.weight == 0) == (target.weight == 0)
        for now, target in zip(plan.during(plan.phases(1)[-2]).layers, plan.layers, strict=True)
    )


def test_dense_layers_stay_dense_in_a_sparser_phase(resnet50: Network) -> None:
    plan = swatcost.estimate(resnet50, weights=0.8, method=mine(target_schedule=above), distribution="erk").plan
    assert plan.dense_share > 0  # ERK makes the layers that would have more than their weights dense
    first = plan.during(plan.phases(1)[0])
    for now, target in zip(first.layers, plan.layers, strict=True):
        assert (now.weight == 0) if target.weight == 0 else (now.weight > target.weight)


def test_a_phase_that_dense_layers_alone_exceed_is_refused() -> None:
    # of 25,502,912 weights fc has 2,048,000, 8.03 %; at 0.92 only 8 % may be left
    asked = {"distribution": "erk", "keep_dense": ["fc"], "method": mine(target_schedule=above)}
    with pytest.raises(SwatcostError, match="sparser than the target and would leave fewer weights"):
        swatcost.estimate("resnet50", weights=0.9, **asked)
    with pytest.raises(SwatcostError, match="sparser than the target and would leave fewer weights"):
        swatcost.sweep("resnet50", weights=[0.5, 0.9], **asked)


@given(share=st.floats(0, 1), target=st.floats(0.01, 0.98), at=st.floats(0, 0.98), layer=st.floats(0, 0.99))
def test_no_sparsity_is_clipped(share: float, target: float, at: float, layer: float) -> None:
    phase = Phase.at(share, at, target)
    now = LayerSparsity(weight=layer).during(phase).weight
    expected = layer * at / target if at <= target else (1 - (1 - layer) * (1 - at) / (1 - target) if layer else 0)
    assert now == pytest.approx(expected, abs=1e-12)
    assert 0 <= now < 1


def test_phases_of_many_targets_are_those_of_each() -> None:
    targets = numpy.array([0.0, 0.3, 0.6, 0.95])
    together = growing(1, targets, first=0.5)
    for place, target in enumerate(targets):
        for one, many in zip(growing(1, float(target), first=0.5), together, strict=True):
            assert (one.scale, one.density_scale) == (many.scale[place], many.density_scale[place])


@pytest.mark.parametrize("schedule", [bound(growing, first=0.5), above])
@pytest.mark.parametrize("distribution", ["uniform", "erk"])
def test_a_sweep_equals_single_estimates(schedule: Callable[..., Any], distribution: str) -> None:
    method, targets = mine(target_schedule=schedule), [0.3, 0.5, 0.8, 0.9]
    asked = {"method": method, "distribution": distribution, "convention": "exact"}
    frame = swatcost.sweep("cifar_resnet18", weights=targets, **asked)
    for target, (_, row) in zip(targets, frame.iterrows(), strict=True):
        one = swatcost.estimate("cifar_resnet18", weights=target, **asked)
        assert row["training_reduction"] == pytest.approx(one.training_reduction, rel=1e-12)
        assert row["inference_reduction"] == pytest.approx(one.inference_reduction, rel=1e-12)


def _training(method: Method, weights: float = 0.8, **more: Any) -> float:
    return swatcost.estimate(
        "cifar_resnet18", weights=weights, method=method, convention="exact", **more
    ).run_macs.sparse


def test_a_run_without_sparse_phases_is_dense() -> None:
    always_dense = mine(schedule=lambda steps: tuple(Phase(1 / 4, 0.0) for _ in range(4)))
    found = swatcost.estimate("cifar_resnet18", weights=0.8, method=always_dense, convention="exact")
    assert found.training_reduction == 0


def test_a_run_of_full_phases_is_constant() -> None:
    in_parts = mine(schedule=lambda steps: tuple(Phase(1 / 4) for _ in range(4)))
    assert _training(in_parts) == pytest.approx(_training(mine()), rel=1e-12)


def test_half_the_run_dense_costs_half_dense_and_half_sparse() -> None:
    # AC/DC: training / dense = ½ + ½ · f, where f is what is left of a sparse step
    left = 1 - swatcost.estimate("cifar_resnet18", weights=0.8, method=mine(), convention="exact").training_reduction
    found = swatcost.estimate("cifar_resnet18", weights=0.8, method=mine(schedule=alternating), convention="exact")
    assert 1 - found.training_reduction == pytest.approx((1 + left) / 2, rel=1e-12)


@given(target=st.floats(0.01, 0.98))
def test_growth_from_the_target_to_the_target_is_static(target: float) -> None:
    method = mine(target_schedule=lambda steps, weights: growing(steps, weights, first=target))
    assert _training(method, target) == pytest.approx(_training(mine(), target), rel=1e-12)


def test_a_target_of_zero_is_dense_whatever_the_schedule() -> None:
    for schedule in (above, bound(growing, first=0.5)):
        assert (
            swatcost.estimate("cifar_resnet18", weights=0, method=mine(target_schedule=schedule)).training_reduction
            == 0
        )
    with pytest.raises(SwatcostError, match=r"weights 0\.985: the method's schedule comes to a sparsity of 1\.005"):
        swatcost.estimate("cifar_resnet18", weights=0.985, method=mine(target_schedule=above))


def test_a_file_of_densities_has_its_own_total() -> None:
    # of 0.8 in every layer but the first: halfway from 0.5 the sparsity is 0.65, and 0.65 / 0.8 of every layer's
    method = mine(target_schedule=lambda steps, target: (Phase.at(1.0, (0.5 + target) / 2, target),))
    found = swatcost.estimate("cifar_resnet18", method=method, distribution="file", source={"*": 0.8})
    assert found.plan.phases(1)[0].scale == pytest.approx(0.65 / 0.8)
    frame = swatcost.sweep("cifar_resnet18", method=method, distribution="file", source={"*": 0.8})
    assert frame["training_reduction"][0] == pytest.approx(found.training_reduction, rel=1e-12)


def test_who_ends_dense_has_a_dense_model() -> None:
    method = mine(ends_dense=True, schedule=lambda steps: (Phase(0.87), Phase(0.13, 0.0)))
    found = swatcost.estimate("cifar_resnet18", weights=0.75, method=method, convention="exact")
    static = swatcost.estimate("cifar_resnet18", weights=0.75, method=mine(), convention="exact")
    assert (found.inference_reduction, found.model_compression) == (0, 1)
    assert found.training_reduction == pytest.approx(0.87 * static.training_reduction, rel=1e-12)


def test_plans_show_the_networks_sparsity_in_each_phase() -> None:
    method = mine(target_schedule=above)
    plan = plan_run("cifar_resnet18", dataset="cifar10", weights=0.9, method=method, convention="exact", device="a100")
    kept = plan.estimate.network.weight_layers[0].weight_elements / plan.estimate.network.weight_elements
    assert [each.weight_sparsity for each in plan.curve()] == pytest.approx(
        [each * (1 - kept) for each in (0.92, 0.91, 0.9)], rel=1e-12
    )
    # gradients: those of active weights, on average over the run
    mean = (9 * 0.92 + 3 * 0.91 + 4 * 0.9) / 16
    dense, sparse = plan.gradient_bytes.dense, plan.gradient_bytes.sparse
    weights = 4 * plan.estimate.network.weight_elements
    assert dense - sparse == pytest.approx(mean * (1 - kept) * weights, rel=1e-9)
    notes = " ".join(plan.estimate.assumptions)
    assert "sparse on average" in notes


def test_a_phase_checks_itself() -> None:
    for wrong in ({"share": 1.5}, {"share": 0.5, "scale": 1.2}, {"share": 0.5, "density_scale": 0.0}):
        with pytest.raises(ValueError, match=r"fractions|left"):
            Phase(**wrong)
    with pytest.raises(ValueError, match="denser than the target and sparser"):
        Phase(0.5, scale=0.5, density_scale=0.5)
    with pytest.raises(ValueError, match="give one"):
        mine(schedule=alternating, target_schedule=above)
    with pytest.raises(ValueError, match="do not add up to 1"):
        mine(target_schedule=lambda steps, target: (Phase.at(0.5, target, target),))


def test_a_method_with_a_target_schedule_comes_back_from_a_pickle() -> None:
    method = mine(target_schedule=bound(growing, first=0.5))
    assert pickle.loads(pickle.dumps(method)) == method


def test_conventions_take_a_method_or_a_plan() -> None:
    plan = swatcost.estimate("cifar_resnet18", weights=0.8, method="rigl").plan
    for convention in CONVENTIONS:
        assert convention.phases(plan, 32_000) == convention.phases(METHODS["rigl"], 32_000)


def test_memory_is_that_of_the_target() -> None:
    found = memory_of("cifar_resnet18", weights=0.9, method=mine(target_schedule=above))
    assert (
        found.memory.compressed_peak == memory_of("cifar_resnet18", weights=0.9, method=mine()).memory.compressed_peak
    )
