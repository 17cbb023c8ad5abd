"""Frozen weights, branches beside layers, work between steps, a method's own targets, layers and storage."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import swatcost
from swatcost.cli import main
from swatcost.common.errors import SwatcostError
from swatcost.counting import CONVENTIONS
from swatcost.counting.workload import workloads
from swatcost.memory.weight_storage import ElementBytes, WeightStorage, stored_bytes
from swatcost.methods import METHODS, Added, LayerSparsity, Method, OffStep, Phase, bound, low_rank, sparse_in
from swatcost.network import Network
from swatcost.planning import memory_of, plan_run
from swatcost.simulation.simulation import simulate
from swatcost.timing.attainable import attainable_step
from tests.test_method_phases import mine
from tests.test_methods import LAYER, MACS

MIXTRAL = "moe:copies=8"


def lora(rank: int, **more: Any) -> Method:
    """Frozen weights with a branch of this rank beside each."""
    fields = {"weight_gradient": "none", "added": bound(low_rank, rank=rank), **more}
    return Method(name="mine", title="", citation="", sparse=sparse_in(), **fields)


def needs_every_gradient(network: Network) -> Network:
    """The network as if its input needed a gradient too."""
    layers = tuple(replace(each, input_needs_grad=True) if each.is_weight_layer else each for each in network.layers)
    return replace(network, layers=layers, amp=None)


# --- frozen weights -----------------------------------------------------------------------------------------------


def test_frozen_and_of_rank_0_costs_two_thirds_where_every_layer_needs_grad_input() -> None:
    # of networks of conv and linear layers alone: forward = grad_input = grad_weight; resnets have no other products
    network = needs_every_gradient(swatcost.load("cifar_resnet18"))
    found = swatcost.estimate(network, method=lora(0), convention="exact")
    assert found.costs.training.sparse / found.costs.training.dense == pytest.approx(2 / 3, rel=1e-15)


@pytest.mark.parametrize("convention", [each.name for each in CONVENTIONS if each.per == "sample"])
def test_frozen_weights_save_grad_weight_and_nothing_else(convention: str) -> None:
    # in any network: the first layer of this one needs no grad_input under exact
    found = swatcost.estimate("cifar_resnet18", method=lora(0), convention=convention).costs
    assert found.grad_weight.sparse == 0
    assert (found.forward.reduction, found.grad_input.reduction, found.inference.reduction) == (0, 0, 0)
    assert found.training.dense == swatcost.estimate("cifar_resnet18", convention=convention).costs.training.dense


def test_frozen_weights_have_no_gradient_and_no_state(resnet50: Network) -> None:
    found = swatcost.estimate(resnet50, method=lora(0)).memory.gradients
    assert found.dense - found.sparse == 4 * resnet50.weight_elements
    memory = memory_of(resnet50, method=lora(0), optimizer="adam").memory
    for weights in (memory.naive_weights, memory.compressed_weights):
        for part in ("gradients", "optimizer state"):
            each = 4 if part == "gradients" else 8
            assert memory.dense_weights[part] - weights.parts[part] == each * resnet50.weight_elements
    assert memory.compressed_peak < memory.dense.peak.bytes


def test_no_gradients_of_frozen_weights_are_sent() -> None:
    plan = plan_run("cifar_resnet18", method=lora(0), device="a100", gpus=4)
    saved = plan.gradient_bytes.dense - plan.gradient_bytes.sparse
    assert saved == pytest.approx(4 * plan.estimate.network.weight_elements, rel=1e-12)
    assert "sends no gradients of frozen weights" in " ".join(plan.notes)


def test_frozen_and_sparse() -> None:
    costs = CONVENTIONS["swat"].count(LAYER, mine(weight_gradient="none"), LayerSparsity(weight=0.8))
    assert [each.sparse / MACS for each in costs.by_pass().values()] == pytest.approx([0.2, 0.2, 0])


# --- branches -----------------------------------------------------------------------------------------------------


def test_a_branch_of_low_rank_by_hand() -> None:
    # 3 × 3 × 8 → 2 channels, 1 × 1 × 2 → 8, at 6 × 6 positions: 36 · 2 · 72 and 36 · 2 · 8 MACs; 2 · 72 + 8 · 2 weights
    added = low_rank(LAYER, rank=2)
    assert (added.forward, added.grad_input, added.grad_weight) == (5184 + 576, 5184 + 576, 5184 + 576)
    assert added.weights == ((2, 8, 3, 3), (8, 2))
    assert added.elements == 160
    # the input of a first layer needs no gradient: only that of the thin layer between
    assert low_rank(replace(LAYER, input_needs_grad=False), rank=2).grad_input == 576


def test_a_branch_beside_a_linear_layer() -> None:
    network = swatcost.load("vit_b_16")
    layer = next(each for each in network.layers if each.kind == "linear" and each.input_needs_grad)
    out, into = layer.weight_shape
    assert low_rank(layer, rank=4).forward == 4 * (into + out) * layer.images


def test_branches_count_in_every_pass() -> None:
    added = low_rank(LAYER, rank=2)
    found = CONVENTIONS["exact"].count(LAYER, lora(2), LayerSparsity())
    assert [each.sparse for each in found.by_pass().values()] == [MACS + 5760, MACS + 5760, 5760]
    assert found.inference.sparse == MACS + added.forward
    assert CONVENTIONS["exact"].count(LAYER, lora(2, merges=True), LayerSparsity()).inference.sparse == MACS
    # half a MAC for each of 8 · 36 outputs more; it leaves out work that is no layer's, such as DSG's search
    assert CONVENTIONS["rigl"].count(LAYER, lora(2), LayerSparsity()).forward.sparse == MACS + 144 + 5760


def test_a_first_layer_has_its_branchs_grad_input_alone() -> None:
    # its own input needs no gradient, but the thin layer between does: 36 positions · 2 · 8
    first = replace(LAYER, input_needs_grad=False)
    found = CONVENTIONS["exact"].count(first, lora(2), LayerSparsity()).grad_input
    assert (found.dense, found.sparse) == (0, 576)


def test_a_phase_can_run_without_branches() -> None:
    late = mine(added=bound(low_rank, rank=2), schedule=lambda steps: (Phase(0.99, adds=False), Phase(0.01)))
    phases = late.phases(1)
    found = CONVENTIONS["exact"].count(LAYER, late, LayerSparsity(weight=0.5), phases=phases)
    assert found.forward.sparse == pytest.approx(0.5 * MACS + 0.01 * 5760)
    assert found.inference.sparse == 0.5 * MACS + 5760
    dense = CONVENTIONS["exact"].count(
        LAYER, late, LayerSparsity(), phases=phases
    )  # which has none, as it is not sparse
    assert dense.training.reduction == 0


def test_branches_are_parameters_that_train(resnet50: Network) -> None:
    method = lora(4)
    found = swatcost.estimate(resnet50, method=method)
    elements = sum(low_rank(each, rank=4).elements for each in resnet50.weight_layers)
    assert found.added_params == elements
    assert found.memory.parameters.sparse - found.memory.parameters.dense == 4 * elements
    bare = memory_of(resnet50, method=lora(0), optimizer="adam").memory.compressed_weights
    memory = memory_of(resnet50, method=method, optimizer="adam").memory.compressed_weights
    more = {part: memory.parts[part] - bare.parts[part] for part in ("parameters", "gradients")}
    assert more == {"parameters": 4 * elements, "gradients": 4 * elements}
    state = memory.parts["optimizer state"] - bare.parts["optimizer state"]
    assert 0 <= state - 8 * elements <= 4 * 2 * len(resnet50.weight_layers)  # and step counters
    assert memory.in_passes - bare.in_passes == pytest.approx(16 * elements, rel=0.01)


def test_attainable_steps_are_without_frozen_gradients_and_with_branches(resnet50: Network) -> None:
    def seconds(method: str | Method) -> float:
        return float(swatcost.estimate(resnet50, method=method, device="a100").attainable_step.seconds)

    assert seconds(lora(0)) < seconds("dense")
    # of a step whose parts are known, without those of grad_weight
    found = swatcost.estimate(resnet50, method=lora(0), device="rtx2080ti")
    parts = [each.seconds for each in found.dense_step.parts if each.in_pass == "grad_weight"]
    assert parts
    assert found.attainable_step.seconds == pytest.approx(found.dense_step.seconds - sum(parts), rel=1e-12)
    # and of one whose parts are not known, grad_weight's share of the MACs
    costs, whole = found.exact, replace(found.dense_step, parts=())
    left = 1 - costs.grad_weight.dense / costs.training.dense
    plain = attainable_step(resnet50, found.plan, found.device, whole, 32, (Phase(1.0),))
    assert plain.seconds == pytest.approx(left * whole.seconds, rel=1e-12)
    assert seconds(lora(8)) > seconds(lora(0))


def test_dsgs_search_is_added_to_the_forward_pass_alone() -> None:
    added = METHODS["dsg"].added_to(LAYER)
    assert (added.forward > 0, added.grad_input, added.grad_weight, added.weights) == (True, 0, 0, ())


@given(rank=st.integers(0, 64))
def test_cost_rises_with_rank(rank: int) -> None:
    less, more = (
        CONVENTIONS["exact"].count(LAYER, lora(each), LayerSparsity()).training.sparse for each in (rank, rank + 1)
    )
    assert more > less


def test_what_cannot_follow_them_refuses_or_says_so(resnet50: Network) -> None:
    with pytest.raises(SwatcostError, match="frozen weights and added branches are not simulated"):
        simulate(resnet50, method=lora(2))
    found, _ = workloads(resnet50, swatcost.estimate(resnet50, method=lora(2)).plan, 1, ("grad_weight",), None)
    assert found == []
    notes = " ".join(swatcost.estimate(resnet50, method=lora(2)).assumptions)
    assert "Conv and linear weights are frozen" in notes
    assert "parameters in branches" in notes


# --- work between steps -------------------------------------------------------------------------------------------

SEARCH = OffStep(name="search for masks", period=40, flops=lambda layer: 10 * layer.weight_elements, source="made up")


def test_work_between_steps_is_in_no_total(resnet50: Network) -> None:
    found = swatcost.estimate(resnet50, weights=0.8, method=mine(off_step=(SEARCH,)), convention="exact")
    without = swatcost.estimate(resnet50, weights=0.8, method=mine(), convention="exact")
    assert found.costs == without.costs
    (work,) = found.to_dict()["totals"]["off_step"]
    sparse = resnet50.weight_elements - resnet50.weight_layers[0].weight_elements  # the first layer is dense
    assert work["flops"] == 10 * sparse
    assert work["flops_per_step"] == 10 * sparse / 40
    assert work["share_of_step"] == pytest.approx(10 * sparse / 40 / (2 * 32 * found.costs.training.sparse))
    assert "off_step" not in without.to_dict()["totals"]
    (note,) = [each for each in found.assumptions if "search for masks" in each]
    assert "every 40 steps" in note
    with pytest.raises(ValueError, match="is not a period"):
        replace(SEARCH, period=0)


# --- own targets and layers ---------------------------------------------------------------------------------------


def test_own_targets_where_none_are_given() -> None:
    method = mine(targets={"weights": 0.5})
    found = swatcost.estimate("cifar_resnet18", method=method)
    asked = swatcost.estimate("cifar_resnet18", weights=0.5, method=method)
    assert found.plan == asked.plan
    assert swatcost.estimate("cifar_resnet18", weights=0.0, method=method).training_reduction == 0
    frame = swatcost.sweep("cifar_resnet18", method=method)
    assert frame["training_reduction"][0] == pytest.approx(asked.training_reduction, rel=1e-12)
    measured = swatcost.estimate("cifar_resnet18", method=method, distribution="file", source={"*": 0.8})
    assert {each.weight for each in measured.plan.layers} == {0.8}
    with pytest.raises(ValueError, match="which it does not make sparse"):
        mine(targets={"acts": 0.5})


@pytest.mark.parametrize("only", [("*mlp*",), lambda layer: "mlp" in layer.name])
def test_only_some_layers_are_sparse(only: Any) -> None:
    network = swatcost.load("vit_b_16")
    method = mine(sparse_only=only, sparse_layers="feed-forward layers")
    found = swatcost.estimate(network, weights=0.5, method=method)
    assert all((each.sparsity.weight == 0.5) == ("mlp" in each.layer.name) for each in found.layers)
    assert "mine makes only feed-forward layers sparse" in found.plan.kept_dense.values()
    everywhere = swatcost.estimate(network, weights=0.5, method=method, keep_dense="none")
    assert all(each.weight for each in everywhere.plan.layers[1:])
    heads = swatcost.estimate(network, weights=0.5, method=method, keep_dense=["head*"])
    assert sorted(set(heads.plan.kept_dense.values())) == ["first layer", "named by head*"]


def test_a_network_without_such_layers_is_refused_with_the_remedy() -> None:
    method = mine(sparse_only=("*mlp*",), sparse_layers="feed-forward layers")
    with pytest.raises(SwatcostError, match=r"and cifar_resnet18 has none: keep_dense \(--keep-dense\) none"):
        swatcost.estimate("cifar_resnet18", weights=0.5, method=method)
    with pytest.raises(ValueError, match="say in sparse_layers"):
        mine(sparse_only=("*mlp*",))


def test_who_keeps_layers_dense() -> None:
    method = mine(keeps_dense=("fc*",), kept_by="its authors")
    found = swatcost.estimate("cifar_resnet18", weights=0.5, method=method)
    assert "as its authors have it" in found.plan.kept_dense.values()
    assert any("its authors kept those layers dense for mine." in each for each in found.assumptions)


# --- storage ------------------------------------------------------------------------------------------------------


def test_a_method_says_how_its_weights_are_stored() -> None:
    # SLoPe's table of memory, as its README has it: 2 · (1 + 1/8) + 1 + ½ · (2 + 4 + 4) bytes per pruned weight
    stores = {
        "parameters": "active",
        "gradients": "active",
        "state": "active",
        "copies": 0,
        "transposes": 1,
        "mask_bits": 8,
    }
    storage = WeightStorage.least(mine(weight_gradient="all", stores=stores))
    half = ElementBytes(parameter=2, gradient=2, state=8)
    found = stored_bytes(storage, rows=8, columns=8, sparsity=0.5, element=half, pattern=(2, 4))
    assert sum(found.values()) / 64 == 2 * (1 + 1 / 8) + 1 + 5
    # indices of one byte per value in place of 2 bits: 32 more bytes · 6 of 8 bits in two places
    wide = WeightStorage.least(mine(weight_gradient="all", stores={**stores, "index_bits": 8}))
    more = stored_bytes(wide, rows=8, columns=8, sparsity=0.5, element=half, pattern=(2, 4))
    assert sum(more.values()) - sum(found.values()) == 2 * 32 * (8 - 2) / 8
    with pytest.raises(ValueError, match="stores colour: give parameters"):
        mine(stores={"colour": 1})


# --- older methods ------------------------------------------------------------------------------------------------


def test_a_method_written_for_the_first_interface_still_works(capsys: pytest.CaptureFixture[str]) -> None:
    from swatcost.methods.method import Method as Old
    from swatcost.methods.method import Phase as OldPhase
    from swatcost.methods.method import sparse_in as old_sparse_in

    method = Old(
        name="old", title="Old", citation="Us", sparse=old_sparse_in(forward=("weight",), grad_input=("weight",)),
        weight_gradient="active", extra_macs=lambda layer: 7.0,
        schedule=lambda steps: (OldPhase(0.5, 0.0), OldPhase(0.5, 1.0, True)),
        published_schedule=lambda steps: (OldPhase(1.0),),
    )  # fmt: skip
    found = CONVENTIONS["exact"].count(LAYER, method, LayerSparsity(weight=0.8), phases=method.phases(10))
    assert [each.sparse for each in found.by_pass().values()] == pytest.approx([0.6 * MACS + 7, 0.6 * MACS, MACS])
    assert swatcost.estimate("cifar_resnet18", weights=0.8, method=method).training_reduction > 0
    assert plan_run("cifar_resnet18", weights=0.8, method=method, device="a100").curve()[0].weight_sparsity == 0


def test_they_come_back_from_a_pickle_and_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    method = lora(4)
    assert pickle.loads(pickle.dumps(method)) == method
    found = swatcost.estimate("cifar_resnet18", method=method)
    assert json.loads(json.dumps(found.to_dict()))["totals"]["added_params"] == found.added_params
    assert main(["cifar_resnet18", "--method", "dense"]) == 0
    assert "adds" not in capsys.readouterr().out


def test_what_is_added_checks_itself() -> None:
    assert Added().elements == 0


def test_added_gradients_are_not_there_before_the_backward_pass() -> None:
    # GPT-2's peak is at the loss, before any gradient: with seven copies of its feed-forward weights (7 · 24 layers of
    # 768 · 3072) only these and Adam's two moments are more, 12 bytes each
    dense, found = (
        memory_of("gpt2", method=each, optimizer="adam", batch_size=8).memory for each in ("dense", MIXTRAL)
    )
    assert found.compressed_peak - dense.dense.peak.bytes == 12 * 7 * 24 * 768 * 3072
