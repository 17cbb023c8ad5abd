"""LoRA, GaLore, mixture of experts and Sparse-IFT: counts by hand, laws, memory, and where they apply."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
import torch

import swatcost
from swatcost.cli import main
from swatcost.common.errors import SwatcostError
from swatcost.counting.conventions import CONVENTIONS
from swatcost.methods import METHODS, LayerSparsity
from swatcost.network import Network
from swatcost.planning import memory_of, plan_run
from swatcost.timing.added_work import spared_update_seconds
from tests.by_hand import chain
from tests.test_added_work import needs_every_gradient
from tests.test_methods import LAYER, MACS
from tests.transformers_by_hand import LlamaBlock

NAMES = ["lora", "moe", "galore", "sparse-ift"]
WIDTH, HIDDEN, TOKENS = 32, 48, 2 * 5


def block(hidden: int = HIDDEN) -> Network:
    """A block of Llama for 2 sequences of 5 tokens: 10 · 32 · hidden MACs in each of three feed-forward layers."""
    return swatcost.trace(LlamaBlock(WIDTH, 4, 4, hidden), example_inputs=torch.zeros(2, 5, WIDTH))


# --- LoRA ---------------------------------------------------------------------------------------------------------


def test_lora_of_rank_0_costs_two_thirds() -> None:
    network = needs_every_gradient(swatcost.load("cifar_resnet18"))
    found = swatcost.estimate(network, method="lora:rank=0", convention="exact").costs.training
    assert found.sparse / found.dense == pytest.approx(2 / 3, rel=1e-15)


def test_lora_by_hand() -> None:
    # frozen: two dense passes; rank 3 adds 36 · 3 · (72 + 8) = 8640 MACs to each pass, none when merged for inference
    costs = CONVENTIONS["exact"].count(LAYER, METHODS["lora:rank=3"], LayerSparsity())
    assert [each.sparse for each in costs.by_pass().values()] == [MACS + 8640, MACS + 8640, 8640]
    assert costs.inference.sparse == MACS


def test_lora_beside_chosen_modules() -> None:
    network = block()
    # rank 4 beside q and v: 4 · (32 + 32) weights each
    found = swatcost.estimate(network, method="lora:rank=4,modules=attention.q+attention.v", convention="exact")
    assert found.added_params == 2 * 4 * 64
    every = swatcost.estimate(network, method="lora:rank=4", convention="exact")
    assert every.added_params == 4 * 4 * 64 + 3 * 4 * (WIDTH + HIDDEN)
    # and grad_weight of 10 tokens, per sample of 2
    assert found.costs.grad_weight.sparse == 2 * 4 * 64 * TOKENS / 2
    names = ("lora:rank=0", "lora:rank=4,modules=*.q", "lora:rank=4")
    none, one, all_of_them = (swatcost.estimate(network, method=each, device="a100") for each in names)
    assert none.attainable_step.seconds < one.attainable_step.seconds < all_of_them.attainable_step.seconds


def test_patterns_that_name_no_layer_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resnet50", "--method", "lora:modules=*query*+*value*"]) == 2
    assert "changes layers named *query* or *value*, and resnet50 has none" in capsys.readouterr().err


# --- mixture of experts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("experts", [1, 2, 3, 8])
def test_all_experts_of_a_split_layer_are_dense(experts: int) -> None:
    """k = E is dense."""
    found = swatcost.estimate(block(), method=f"moe:experts={experts},active={experts}", convention="exact")
    assert found.training_reduction == found.inference_reduction == 0
    assert found.added_params == 0


def test_active_experts_of_a_split_layer_by_hand() -> None:
    # three layers of 32 · 48 weights for 5 tokens of a sample: 2 of 8 experts leave a quarter
    found = swatcost.estimate(block(), method="moe", convention="exact")
    left = found.costs.forward.dense - found.costs.forward.sparse
    assert left == 0.75 * 3 * 5 * WIDTH * HIDDEN
    assert found.costs.grad_weight.dense - found.costs.grad_weight.sparse == left
    assert found.added_params == 0


@pytest.mark.parametrize("experts", [1, 2, 4])
def test_all_experts_cost_what_one_of_their_width_costs(experts: int) -> None:
    """The same MACs and weights as feed-forward layers that are E times as wide."""
    found = swatcost.estimate(
        block(), method=f"moe:experts={experts},active={experts},copies={experts}", convention="exact"
    )
    wide = swatcost.estimate(block(experts * HIDDEN), method="dense", convention="exact")
    for ours, theirs in zip(found.costs.by_pass().values(), wide.costs.by_pass().values(), strict=True):
        assert ours.sparse == theirs.dense
    assert found.costs.inference.sparse == wide.costs.forward.dense
    assert found.network.weight_elements + found.added_params == wide.network.weight_elements


def test_active_experts_by_hand() -> None:
    # three layers of 32 · 48 weights for 5 tokens of a sample: 2 of 8 run, one of which is the dense network's
    layer = WIDTH * HIDDEN
    found = swatcost.estimate(block(), method="moe:copies=8", convention="exact")
    assert found.costs.forward.sparse - found.costs.forward.dense == 3 * 5 * layer
    assert found.costs.grad_weight.sparse - found.costs.grad_weight.dense == 3 * 5 * layer
    assert found.added_params == 7 * 3 * layer
    one = swatcost.estimate(block(), method="moe:active=1,copies=8", convention="exact")
    assert one.training_reduction == one.inference_reduction == 0


def test_experts_are_stored_with_gradients_and_state() -> None:
    def parts(method: str) -> dict[str, int]:
        return memory_of(block(), method=method, optimizer="adam").memory.compressed_weights.parts

    dense, found = parts("moe:experts=1,active=1"), parts("moe:copies=8")
    more = {name: found[name] - dense[name] for name in ("parameters", "gradients", "optimizer state")}
    elements = 7 * 3 * WIDTH * HIDDEN
    assert more == {"parameters": 4 * elements, "gradients": 4 * elements, "optimizer state": 8 * elements}


def test_where_there_is_nothing_to_change(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resnet50", "--method", "moe"]) == 2
    assert "changes feed-forward layers, and resnet50 has none" in capsys.readouterr().err
    with pytest.raises(SwatcostError, match="active=9 of experts=8 experts, give active up to experts"):
        METHODS["moe:active=9"]


# --- GaLore -------------------------------------------------------------------------------------------------------


def test_galores_state_by_hand() -> None:
    # of rank 8: two moments of 8 × max(m, n) and a projection of 8 × min(m, n), 4 bytes each; four layers of 32 × 32
    # and three of 32 × 48; the two norms of 32 stay as they are
    def state(optimizer: str, method: str = "galore:rank=8") -> int:
        return memory_of(block(), method=method, optimizer=optimizer).memory.compressed_weights.parts["optimizer state"]

    low = 4 * 8 * (4 * (2 * 32 + 32) + 3 * (2 * 48 + 32)) + 8 * 2 * WIDTH
    assert state("adam") == low
    dense = memory_of(block(), method="galore:rank=8", optimizer="adam").memory.dense_weights["optimizer state"]
    assert dense == 8 * (4 * 32 * 32 + 3 * 32 * 48 + 2 * 32)
    assert state("sgd") == 4 * 8 * (4 * 32 + 3 * 32)  # projections alone


def test_galores_passes_are_dense_and_its_decompositions_beside_them() -> None:
    found = swatcost.estimate(block(), method="galore:rank=8", convention="exact")
    assert found.training_reduction == found.inference_reduction == 0
    decompositions, projections = found.off_step
    assert decompositions.period == 200
    # 14 · m · n² + 8 · n³ = 22 · 32³ of a square one, and (14 · 48 + 8 · 32) · 32² of the others
    assert decompositions.flops == 4 * 22 * 32**3 + 3 * (14 * 48 + 8 * 32) * 32**2
    assert (projections.period, projections.flops) == (1, 4 * 8 * (4 * 32 * 32 + 3 * 32 * 48))


def test_layers_as_narrow_as_the_rank_are_not_projected(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SwatcostError, match=r"changes linear layers with both sides above rank 128, and .* has none"):
        swatcost.estimate(block(), method="galore")
    found = swatcost.estimate("vit_b_16", method="galore:modules=*.mlp.*")
    assert found.off_step[1].flops == 4 * 128 * 24 * 768 * 3072


# --- Sparse-IFT ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1, 2, 4])
def test_a_widened_layer_costs_what_the_narrow_one_did(width: int) -> None:
    narrow = swatcost.estimate(chain(4, 8, 8, 4), method="dense", convention="exact")
    wide = swatcost.estimate(
        chain(4, 8 * width, 8 * width, 4), method=f"sparse-ift:width={width}", convention="exact", first_layer="sparse"
    )
    before, after = narrow.layers[1].costs, wide.layers[1].costs
    for in_pass, cost in after.by_pass().items():
        assert cost.sparse == pytest.approx(before.by_pass()[in_pass].dense, rel=1e-12)
    # the first layer is widened on one side: a share 1 / k of what it cost
    assert wide.layers[0].costs.forward.sparse == pytest.approx(narrow.layers[0].costs.forward.dense / width)


# --- all ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", NAMES)
def test_the_command_line_needs_no_target(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["vit_b_16", "--method", method, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = swatcost.estimate("vit_b_16", method=method)
    assert found["totals"]["training_reduction"] == expected.training_reduction
    assert pickle.loads(pickle.dumps(expected)) == expected
    assert main(["memory", "vit_b_16", "--method", method, "--optimizer", "adam"]) == 0
    assert "optimizer state" in capsys.readouterr().out


def test_frozen_weights_have_no_gradients_to_accumulate_or_send() -> None:
    asked: dict[str, Any] = {"precision": "fp32", "optimizer": "adamw", "batch_size": 1, "method": "lora"}
    alone, accumulating, shared = (
        memory_of("gpt2", **asked, **more).memory for more in ({}, {"accumulate": 2}, {"gpus": 2})
    )
    gradients = alone.compressed_weights.parts["gradients"]
    assert gradients < 0.03 * alone.dense_weights["gradients"]
    for each in (accumulating, shared):  # the gradients of all micro-batches, or DDP's buckets
        assert each.compressed_peak == alone.compressed_peak + gradients


def test_an_update_is_once_per_iteration_and_on_the_gpus_that_share_it() -> None:
    """AdamW reads parameters, gradients and two moments and writes three of them: 28 bytes per parameter."""
    asked: dict[str, Any] = {"tokens": 10**7, "device": "a100", "precision": "amp", "optimizer": "adamw"}

    def iteration(**how: Any) -> float:
        run = plan_run("gpt2", **asked, **how)
        return run.compute_seconds.dense / run.iterations

    update = 28 * 124_439_808 / 2.039e12
    one = iteration(batch_size=8)
    assert iteration(batch_size=32, accumulate=4) == pytest.approx(4 * one - 3 * update)
    assert iteration(batch_size=32, gpus=4, sharding="fsdp") == pytest.approx(one - 3 / 4 * update)
    assert iteration(batch_size=32, gpus=4) == pytest.approx(one)


def test_frozen_weights_are_not_updated() -> None:
    """GPT-2: 12 blocks of 12 · 768², and the head; 28 bytes per parameter at the A100's 2.039 TB/s."""
    found = swatcost.estimate("gpt2", method="lora", device="a100", precision="amp", optimizer="adamw", batch_size=1)
    blocks, head, rank = 12 * 12 * 768**2, 50_257 * 768, 8
    added = rank * (12 * (768 + 2304 + 768 + 768 + 2 * (768 + 3072)) + 768 + 50_257)
    spared = spared_update_seconds(found.network, found.plan, found.dense_step)
    assert spared == pytest.approx(28 * (blocks + head - added) / 2.039e12)


@pytest.mark.parametrize(
    ("model", "method", "parameters"),
    [  # per block, feed-forward weights of Llama 2 7B are 3 · 4096 · 11008; Mixtral's experts 8 · 3 · 4096 · 14336
        ("llama2_7b", "moe", 6_738_415_616),
        ("llama2_7b", "moe:copies=8", 6_738_415_616 + 7 * 32 * 3 * 4096 * 11_008),
        ("mixtral_8x7b", "moe", 46_702_792_704),
        ("mixtral_8x7b", "moe:copies=8", 46_702_792_704 + 7 * 32 * 8 * 3 * 4096 * 14_336),
    ],
)
def test_all_experts_count_where_n_is_all_parameters(model: str, method: str, parameters: int) -> None:
    found = swatcost.estimate(model, method=method, convention="6n").flops_per_token
    assert found is not None
    assert found.sparse == pytest.approx(6 * parameters, rel=1e-12)
