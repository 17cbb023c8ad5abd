"""Methods with N:M sparsity: what is left of each pass by hand, laws, their masks, and where they apply."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import numpy
import pytest

import swatcost
from swatcost.cli import main
from swatcost.common.errors import SwatcostError
from swatcost.counting.conventions import CONVENTIONS
from swatcost.memory.weight_storage import ElementBytes, WeightStorage, stored_bytes
from swatcost.methods import METHODS, LayerSparsity
from swatcost.methods.feed_forward import is_feed_forward
from swatcost.methods.n_of_m import pruned_again
from swatcost.planning import memory_of
from tests.test_methods import LAYER, MACS

N_OF_M = ["sr-ste", "asp", "transposable-nm", "bi-mask", "slope"]
TWO_OF_FOUR = [*N_OF_M, "fst", "s-ste"]


def left(method: str, weight: float = 0.5, output: float = 0.5) -> list[float]:
    """What is left of forward, grad_input, grad_weight and inference under exact."""
    sparsity, counted = LayerSparsity(weight=weight, output=output), METHODS[method]
    costs = CONVENTIONS["exact"].count(LAYER, counted, sparsity, phases=counted.phases(1000, weight))
    return [each.sparse / MACS for each in (*costs.by_pass().values(), costs.inference)]


@pytest.mark.parametrize(
    ("method", "fractions"),
    [  # of 2:4 weights and gradients: forward, grad_input, grad_weight, inference
        ("sr-ste", [1 / 2, 1, 1, 1 / 2]),
        ("asp", [3 / 4, 1, 1, 1 / 2]),  # half of the steps are dense
        ("asp:again=3", [1 / 4 + 3 / 4 * 1 / 2, 1, 1, 1 / 2]),
        ("transposable-nm", [1 / 2, 1 / 2, 1, 1 / 2]),
        ("bi-mask", [1 / 2, 1 / 2, 1, 1 / 2]),
        ("fst", [5 / 6 * 1 / 2 + 1 / 6] * 3 + [1]),  # a sixth of the steps is dense, and so is the trained model
        ("fst:dense_end=0", [1 / 2, 1 / 2, 1 / 2, 1 / 2]),
        ("s-ste", [1 / 2, 1 / 2, 1 / 2, 1 / 2]),
        ("slope:rank=0", [1 / 2, 1 / 2 - 3 / 32, 1, 1 / 2]),
    ],
)
def test_what_is_left_of_each_pass(method: str, fractions: list[float]) -> None:
    assert left(method) == pytest.approx(fractions, rel=1e-12)


def test_slopes_adapters_run_in_the_last_hundredth() -> None:
    # rank 2 beside 8 × 72 weights at 36 positions: 36 · 2 · (72 + 8) = 5760 MACs in each pass
    more = [new - old for new, old in zip(left("slope:rank=2"), left("slope:rank=0"), strict=True)]
    assert more == pytest.approx([0.01 * 5760 / MACS] * 3 + [5760 / MACS], rel=1e-9)


@pytest.mark.parametrize("method", N_OF_M)
def test_all_of_m_is_dense(method: str) -> None:
    found = swatcost.estimate("vit_b_16", method=f"{method}:n=4", convention="exact")
    assert found.plan.weights == 0
    assert (found.training_reduction, found.inference_reduction, found.plan.pattern) == (0, 0, None)


def test_without_sparse_phases_fst_is_dense() -> None:
    found = swatcost.estimate("vit_b_16", method="fst:dense_end=1", convention="exact")
    assert found.training_reduction == found.inference_reduction == 0


def test_the_second_run_of_asp_beside_the_first() -> None:
    # both runs in dense steps of the first: 1 + r · (½ forward and two dense passes)
    for again in (0.25, 1.0, 2.0):
        whole = sum(left(f"asp:again={again}")[:3]) * (1 + again)
        assert whole == pytest.approx(3 + again * 2.5, rel=1e-12)


# --- patterns -----------------------------------------------------------------------------------------------------


def test_their_plan_has_the_pattern_whatever_the_distribution() -> None:
    def pattern(method: str, **asked: object) -> tuple[int, int] | None:
        return swatcost.estimate("cifar_resnet18", method=method, **asked).plan.pattern  # type: ignore[arg-type]

    assert pattern("sr-ste") == (2, 4)
    assert pattern("sr-ste", weights=0.75) == (1, 4)
    assert pattern("sr-ste:n=2,m=8") == pattern("sr-ste:n=2,m=8", distribution="nm") == (2, 8)
    assert pattern("sr-ste", distribution="nm", source="1:16") == (1, 16)  # in place of the method's own target
    assert pattern("rigl", weights=0.5) is None
    for distribution in ("nm", "uniform", "erk"):
        with pytest.raises(
            SwatcostError, match=r"weights 0\.8: method 'sr-ste:m=8' keeps N of every 8 weights: give 1"
        ):
            pattern("sr-ste:m=8", distribution=distribution, weights=0.8)


def test_a_sweep_has_the_pattern_of_each_target() -> None:
    asked = {"method": "transposable-nm", "device": "a100", "precision": "bf16", "convention": "exact"}
    targets = [0.0, 0.5, 0.75]
    frame = swatcost.sweep("vit_b_16", weights=targets, **asked)
    for target, (_, row) in zip(targets, frame.iterrows(), strict=True):
        one = swatcost.estimate("vit_b_16", weights=target, **asked)  # type: ignore[arg-type]
        assert row["training_reduction"] == pytest.approx(one.training_reduction, rel=1e-12)
        assert row["attainable_speedup"] == pytest.approx(one.attainable_speedup, rel=1e-9)
    assert frame["attainable_speedup"][1] > 1  # kernels for 2:4 run
    with pytest.raises(SwatcostError, match="keeps N of every 4 weights"):
        swatcost.sweep("vit_b_16", weights=[0.5, 0.8], **asked)


def test_a_2_4_kernel_runs_grad_input_where_the_mask_is_transposable() -> None:
    def speedup(method: str) -> float:
        return swatcost.estimate("vit_b_16", method=method, device="a100", precision="bf16").attainable_speedup

    assert 1 < speedup("sr-ste") < speedup("transposable-nm") == speedup("bi-mask")


def test_layers_without_whole_groups_stay_dense() -> None:
    plan = swatcost.estimate("resnet50", method="sr-ste:m=128", first_layer="sparse").plan
    dense = {name for name, why in plan.kept_dense.items() if "multiple of 128" in why}
    assert "conv1.weight" in dense  # 3 channels
    assert "layer1.0.conv1.weight" in dense  # 64 channels
    assert "layer1.1.conv1.weight" not in dense  # 256 channels


def test_slope_prunes_the_linear_layers_that_its_code_prunes() -> None:
    network = swatcost.load("vit_b_16")
    plan = swatcost.estimate(network, method="slope", first_layer="sparse").plan
    assert set(plan.kept_dense) == {each.weight for each in network.weight_layers if each.kind == "conv"}
    head = network.weight_layers[-1]
    logits = replace(head, weight_shape=(50_257, 768), output_shape=(*head.output_shape[:-1], 50_257))  # 65 : 1
    assert METHODS["slope"].sparse_only(head)  # type: ignore[operator]
    assert not METHODS["slope"].sparse_only(logits)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("encoder.layers.encoder_layer_0.mlp.0", True),  # torchvision's ViT
        ("blocks.3.mlp.fc1", True),  # timm
        ("transformer.h.0.mlp.c_fc", True),  # nanoGPT
        ("layers.0.mlp.gate", True),
        ("layers.0.linear2", True),  # torch.nn.TransformerEncoderLayer
        ("model.decoder.layers.1.fc2", True),  # OPT
        ("bert.encoder.layer.0.intermediate.dense", True),
        ("bert.encoder.layer.0.output.dense", True),
        ("bert.encoder.layer.0.attention.output.dense", False),
        ("transformer.h.0.attn.c_proj", False),
        ("lm_head", False),
        ("fc", False),
    ],
)
def test_feed_forward_layers_by_name(name: str, answer: bool) -> None:
    linear = swatcost.load("vit_b_16").weight_layers[-1]
    assert is_feed_forward(replace(linear, name=name)) is answer


@pytest.mark.parametrize("method", ["fst", "s-ste"])
def test_feed_forward_layers_alone(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = swatcost.estimate("vit_b_16", method=method)
    sparse = [each.layer.name for each in found.layers if each.sparsity.weight]
    assert len(sparse) == 24  # two in each of 12 blocks
    assert all(".mlp." in name for name in sparse)
    assert main(["resnet50", "--method", method]) == 2
    assert "makes only feed-forward layers sparse, and resnet50 has none" in capsys.readouterr().err


# --- masks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "m"), [(1, 2), (2, 4), (2, 8), (1, 4)])
def test_pruning_a_random_mask_again(n: int, m: int) -> None:
    """Against masks that are drawn: 2:4 along the inputs, then at most 2 of 4 along the outputs."""
    random = numpy.random.default_rng(0)
    order = random.random((2048, 512 // m, m)).argsort(-1)
    mask = (order < n).reshape(2048, 512)
    here = mask.reshape(2048 // m, m, 512).sum(1)
    kept = numpy.minimum(here, n).sum() / mask.size
    assert 1 - pruned_again(1 - n / m, m=m) == pytest.approx(kept, abs=2e-3)


def test_pruning_again_in_a_sweep() -> None:
    targets = [0.0, 0.5, 0.75]
    swept = METHODS["slope"].sparsity_in("grad_input", numpy.array(targets))
    assert swept.tolist() == [pruned_again(each, m=4) for each in targets]
    assert swept[0] == 0


def test_searches_for_masks() -> None:
    def flops(method: str) -> tuple[int, float]:
        (work,) = METHODS[method].off_step
        return work.period, work.flops(LAYER) / LAYER.weight_elements

    assert flops("transposable-nm") == (40, 4)  # 16 · log2 16 comparisons for 16 weights
    assert flops("transposable-nm:m=8,every=10") == (10, 6)  # 64 · log2 64 for 64
    assert flops("fst") == (40, 180)  # 90 masks · 16 MACs for 16 weights
    assert flops("bi-mask") == (100, 10)
    assert METHODS["sr-ste"].off_step == ()


# --- storage ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "bytes_per_weight"),
    [  # fp16 parameters and gradients, fp32 moments
        ("slope", 2 * (1 + 1 / 8) + 1 + 1 / 2 * 10),  # 8.25, SLoPe's own table
        ("fst", 12 + 2 * (1 + 1 / 8) + 1),  # and its line for FST: both orders beside the dense weight, and a mask
        ("sr-ste", 12),  # the backward pass reads no sparse copy
    ],
)
def test_bytes_per_pruned_weight(method: str, bytes_per_weight: float) -> None:
    adam = ElementBytes(parameter=2, gradient=2, state=4 + 4)
    storage = WeightStorage.least(METHODS[method])
    found = stored_bytes(storage, rows=64, columns=64, sparsity=0.5, element=adam, pattern=(2, 4))
    assert sum(found.values()) / 64**2 == bytes_per_weight


def test_slopes_memory_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    # fp32: 4 + 4 + 8 bytes dense; half of them, 2 bits per value kept in both orders, and a mask of bytes
    memory = memory_of("vit_b_16", method="slope:rank=0", optimizer="adam").memory
    pruned = sum(each.weight_elements for each in swatcost.load("vit_b_16").weight_layers if each.kind == "linear")
    saved = memory.dense_weights["gradients"] - memory.compressed_weights.parts["gradients"]
    assert saved == 2 * pruned
    assert memory.compressed_weights.parts["masks"] == pruned
    assert memory.compressed_weights.parts["weight copies"] == pruned * (2 + 1 / 8)
    assert main(["memory", "vit_b_16", "--method", "slope", "--optimizer", "adam"]) == 0
    assert "masks" in capsys.readouterr().out


# --- GPT-2 --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "fewer"),
    [  # MACs of a forward pass per token that are saved, in 12 blocks of width h = 768 with 12 · h² weights
        ("slope:rank=0", 12 * 12 * 768**2 / 2),  # all linear layers but the logits
        ("fst:dense_end=0", 12 * 8 * 768**2 / 2),  # the feed-forward part
        ("sr-ste", (12 * 12 * 768**2 + 768 * 50_257) / 2),  # the logits too
    ],
)
def test_what_gpt_2_saves_per_token(method: str, fewer: float) -> None:
    forward = swatcost.estimate("gpt2", method=method, convention="exact").costs.forward
    assert (forward.dense - forward.sparse) / 1024 == pytest.approx(fewer, rel=1e-12)


# --- asked for ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", TWO_OF_FOUR)
def test_the_command_line_needs_no_target(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["vit_b_16", "--method", method, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = swatcost.estimate("vit_b_16", method=method)
    assert found["totals"]["training_reduction"] == expected.training_reduction > 0
    assert pickle.loads(pickle.dumps(expected)) == expected


def test_more_than_all_of_m_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resnet50", "--method", "sr-ste:n=5"]) == 2
    assert "method 'sr-ste': it keeps n=5 of every m=4 weights, give n up to m" in capsys.readouterr().err
