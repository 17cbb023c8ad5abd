"""Sets of weights by pass: a wider set that gets gradients (Top-KAST), and a sparser one for grad_input (SLoPe)."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from swatcost_models import ZOO

import swatcost
from swatcost.common.errors import SwatcostError
from swatcost.counting import CONVENTIONS
from swatcost.counting.workload import workloads
from swatcost.memory.weight_storage import ElementBytes, WeightStorage, stored_bytes
from swatcost.methods import LayerSparsity, Method, Phase, bound, sparse_in
from swatcost.network import Network
from swatcost.planning import memory_of, plan_run
from swatcost.simulation.simulation import simulate
from swatcost.timing.selection import selected
from tests.test_method_phases import mine
from tests.test_methods import LAYER, MACS


def wider(sparsity: float, *, of: float) -> float:
    """The set whose sparsity is this fraction of the trained one's."""
    return sparsity * of


def pruned_again(sparsity: float) -> float:
    """Of what is left, 2:4 zeroes 3/32 again (SLoPe); dense stays dense."""
    return sparsity + (sparsity > 0) * (1 - sparsity) * 0.09375


TOP_KAST = mine(weight_sets={"grad_weight": bound(wider, of=0.5)})
SLOPE = mine(weight_gradient="all", weight_sets={"grad_input": pruned_again})


def left(method: Method, convention: str, sparsity: float, *phases: Phase) -> list[float]:
    costs = CONVENTIONS[convention].count(LAYER, method, LayerSparsity(weight=sparsity), phases=phases or (Phase(1.0),))
    return [each.sparse / MACS for each in (*costs.by_pass().values(), costs.inference)]


@pytest.mark.parametrize(
    ("method", "convention", "fractions"),
    [  # weights 80 %: the wider set is 40 % sparse, the one pruned again keeps 0.2 · (1 − 3/32) = 0.18125
        (TOP_KAST, "exact", [0.2, 0.2, 0.6, 0.2]),
        (TOP_KAST, "swat", [0.2, 0.2, 0.5, 0.2]),  # charges the default activation sparsity, whatever the set
        (SLOPE, "exact", [0.2, 0.18125, 1, 0.2]),
        (SLOPE, "swat", [0.2, 0.18125, 0.5, 0.2]),
        (mine(weight_sets={"forward": bound(wider, of=0.5)}), "exact", [0.6, 0.2, 0.2, 0.2]),
    ],
)
def test_what_is_left_of_each_pass(method: Method, convention: str, fractions: list[float]) -> None:
    assert left(method, convention, 0.8) == pytest.approx(fractions, rel=1e-12)


def test_rigls_convention_follows_the_set() -> None:
    costs = CONVENTIONS["rigl"].count(LAYER, TOP_KAST, LayerSparsity(weight=0.8))
    outputs = 0.5 * 8 * 36
    assert costs.grad_weight.sparse == pytest.approx(0.6 * MACS + outputs)


def test_a_set_follows_the_phase() -> None:
    # half of the target: 40 %, of which the wider set has half
    assert left(TOP_KAST, "exact", 0.8, Phase(1.0, 0.5)) == pytest.approx([0.6, 0.6, 0.8, 0.2])
    assert left(TOP_KAST, "exact", 0.8, Phase(1.0, dense_weight_gradient=True))[2] == 1


@given(weight=st.floats(0, 0.99), convention=st.sampled_from(["exact", "swat", "rigl", "equations"]))
def test_a_set_as_wide_as_the_trained_one_is_static(weight: float, convention: str) -> None:
    same = mine(weight_sets={"grad_weight": bound(wider, of=1.0), "grad_input": bound(wider, of=1.0)})
    assert left(same, convention, weight) == pytest.approx(left(mine(), convention, weight), rel=1e-12)


def test_layers_kept_dense_stay_dense_in_every_set(resnet50: Network) -> None:
    found = swatcost.estimate(resnet50, weights=0.8, method=SLOPE, convention="exact")
    assert found.layers[0].costs.training.reduction == 0


def test_gradients_and_state_are_held_for_the_set_that_gets_them(resnet50: Network) -> None:
    # without momentum the memory of an estimate has gradients alone: 0.4 of the sparse layers' are not needed
    found = swatcost.estimate(resnet50, weights=0.8, method=TOP_KAST)
    sparse = resnet50.weight_elements - resnet50.weight_layers[0].weight_elements
    gradients = found.memory.gradients
    assert gradients.dense - gradients.sparse == pytest.approx(0.4 * sparse * 4, rel=1e-12)
    # the optimizer's state: dense for what has no zeros, and 0.6 of the sparse layers'
    memory = memory_of(resnet50, weights=0.8, method=TOP_KAST, optimizer="momentum").memory
    dense, compressed = memory.dense_weights["optimizer state"], memory.compressed_weights.parts["optimizer state"]
    assert dense - compressed == pytest.approx(0.4 * sparse * 4, rel=1e-6)
    assert memory.compressed_weights.storage.copies == 1  # the parameters hold more than the passes read


def test_a_copy_has_the_density_of_the_set_that_reads_it() -> None:
    # 64 elements, a bitmap of 8 bytes: parameters 0.6 · 64 · 4 + 8, the copy 0.2 · 64 · 4 + 8
    storage = WeightStorage.least(TOP_KAST)
    asked = {"rows": 8, "columns": 8, "sparsity": 0.4, "element": ElementBytes(parameter=4)}
    found = stored_bytes(storage, copy_sparsities=(0.8, 0.8), **asked)
    assert found["parameters"] + found["indices"] == pytest.approx(0.6 * 64 * 4 + 8)
    assert found["weight copies"] == pytest.approx(0.2 * 64 * 4 + 8)
    # a set that is dense gets dense gradients, and the passes still read a sparse copy
    found = stored_bytes(storage, copy_sparsities=(0.8, 0.8), **{**asked, "sparsity": 0.0})
    assert (found["parameters"], found["weight copies"]) == (64 * 4, pytest.approx(0.2 * 64 * 4 + 8))


def test_grad_inputs_own_set_has_a_transpose_of_its_own() -> None:
    storage = WeightStorage.least(SLOPE)
    assert (storage.copies, storage.transposes) == (0, 1)
    assert WeightStorage.masked(TOP_KAST).mask_bits == 16  # two masks of booleans


def test_gradient_traffic_follows_the_set() -> None:
    def saved(method: Method) -> float:
        return plan_run("cifar_resnet18", weights=0.8, method=method, device="a100").gradient_bytes.reduction

    assert saved(TOP_KAST) == pytest.approx(saved(mine()) / 2, rel=1e-9)


def test_top_k_selects_each_set(resnet50: Network) -> None:
    selecting = mine(weight_sets={"grad_weight": bound(wider, of=0.5)}, selects=frozenset({"weight"}))
    plan = swatcost.estimate(resnet50, weights=0.8, method=selecting).plan
    weights, _ = selected(resnet50, plan)
    assert len(weights) == 2 * len(resnet50.weight_layers)
    one = swatcost.estimate(resnet50, weights=0.8, method=mine(selects=frozenset({"weight"})))
    two = swatcost.estimate(resnet50, weights=0.8, method=selecting)
    assert two.topk_seconds == pytest.approx(2 * one.topk_seconds)


@pytest.mark.parametrize("device", ["xeon2", "a100"])  # without sparse kernels, and with some that do not fit
def test_masking_once_more_for_grad_inputs_own_set(resnet50: Network, device: str) -> None:
    selects: Any = {"selects": frozenset({"weight"}), "weight_gradient": "all"}

    def masking(method: Method) -> float:
        found = swatcost.estimate(resnet50, weights=0.8, method=method, device=device)
        return float(found.attainable_step.seconds - found.dense_step.seconds)

    assert masking(mine(**selects)) > 0
    again = mine(**selects, weight_sets={"grad_input": pruned_again})
    first = resnet50.weight_layers[0].weight  # which is dense
    assert first == "conv1.weight"
    assert masking(again) == pytest.approx(2 * masking(mine(**selects)), rel=1e-9)


def test_exported_workloads_have_the_density_of_the_set(resnet50: Network) -> None:
    plan = swatcost.estimate(resnet50, weights=0.8, method=SLOPE).plan
    found, _ = workloads(resnet50, plan, 1, ("forward", "grad_input"), None)
    of_layer = {each.in_pass: each.weight_density for each in found if each.layer == "layer1.0.conv2"}
    assert of_layer == pytest.approx({"forward": 0.2, "grad_input": 0.18125})


def test_a_simulated_grad_input_reads_its_own_set(resnet50: Network) -> None:
    last = tuple(each for each in resnet50.layers if each.name == "layer4.2.conv3")
    network = replace(resnet50, layers=last, amp=None)
    asked = {"weights": 0.8, "convention": "exact", "first_layer": "sparse"}
    plain = simulate(network, method=mine(weight_gradient="all"), **asked)
    pruned = simulate(
        network, method=mine(weight_gradient="all", weight_sets={"grad_input": bound(wider, of=0.25)}), **asked
    )
    cycles = [each.layers[0].passes for each in (plain, pruned)]
    assert cycles[0]["forward"] == cycles[1]["forward"]
    assert cycles[1]["grad_input"].sparse > cycles[0]["grad_input"].sparse


@pytest.mark.parametrize("convention", ["exact", "swat", "rigl"])
@pytest.mark.parametrize("method", [TOP_KAST, SLOPE])
def test_a_sweep_equals_single_estimates(method: Method, convention: str) -> None:
    targets = [0.0, 0.3, 0.8, 0.95]
    frame = swatcost.sweep("cifar_resnet18", weights=targets, method=method, convention=convention)
    for target, (_, row) in zip(targets, frame.iterrows(), strict=True):
        one = swatcost.estimate("cifar_resnet18", weights=target, method=method, convention=convention)
        assert row["training_reduction"] == pytest.approx(one.training_reduction, rel=1e-12)
        assert row["attainable_speedup"] == pytest.approx(one.attainable_speedup, rel=1e-9)


def test_what_a_set_cannot_be() -> None:
    with pytest.raises(ValueError, match="sparse where the trained one is dense"):
        mine(weight_sets={"grad_input": lambda sparsity: sparsity + 0.1})
    with pytest.raises(ValueError, match="where all weights are needed"):
        mine(weight_gradient="all", weight_sets={"grad_weight": bound(wider, of=0.5)})
    with pytest.raises(ValueError, match="where all weights are needed"):
        mine(sparse=sparse_in(forward=("weight",)), weight_sets={"grad_input": pruned_again})
    with pytest.raises(
        SwatcostError, match=r"its set of weights for grad_weight would have a sparsity outside \[0, 1\)"
    ):
        swatcost.estimate("cifar_resnet18", weights=0.8, method=mine(weight_sets={"grad_weight": bound(wider, of=2.0)}))


def test_it_comes_back_from_a_pickle() -> None:
    assert pickle.loads(pickle.dumps(TOP_KAST)) == TOP_KAST


def test_the_executed_reference_refuses_it_by_name() -> None:
    from swatcost.reference import convert

    module = ZOO["cifar_resnet18"].build()
    with pytest.raises(SwatcostError, match="method 'mine' is estimated, not run"):
        convert(module, swatcost.estimate("cifar_resnet18", weights=0.8, method=TOP_KAST))


def at_most_half(sparsity: float) -> float:
    """Written without a thought of arrays, and of numpy's numbers."""
    return min(sparsity, numpy.float64(0.5))


def test_sets_of_weights_are_functions_of_one_number(resnet50: Network) -> None:
    """Sweeps and solutions hold many settings at once; JSON takes no number of numpy."""
    method = replace(TOP_KAST, name="half", weight_sets={"grad_weight": at_most_half})
    swept = swatcost.sweep(resnet50, method=method, weights=[0.2, 0.8], convention="exact")
    for weights, found in zip((0.2, 0.8), swept["training_reduction"], strict=True):
        one = swatcost.estimate(resnet50, method=method, weights=weights, convention="exact")
        assert found == pytest.approx(one.training_reduction, rel=1e-12)
        assert type(one.training_reduction) is float
        assert json.loads(json.dumps(one.to_dict()))["totals"]["training_reduction"] == one.training_reduction


def test_sets_of_weights_are_of_passes() -> None:
    with pytest.raises(ValueError, match="sets of weights for backward: give forward or grad_input or grad_weight"):
        replace(TOP_KAST, weight_sets={"backward": at_most_half})
