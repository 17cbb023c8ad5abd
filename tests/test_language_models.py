"""Conventions of language models against published FLOPs, from traced networks, and against counts written out."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import msgspec
import pytest
import torch
import torch.nn.functional as F
from swatcost_models.gpt2 import gpt2
from swatcost_models.llama import llama2_7b, llama2_13b, llama2_70b
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import swatcost
from swatcost.common.errors import SwatcostError
from swatcost.counting import CONVENTIONS, Counting
from swatcost.counting.language_conventions import LANGUAGE_CONVENTIONS
from swatcost.methods import METHODS, LayerSparsity
from swatcost.network.attention import Attention, Embedding, pairs_of
from swatcost.network.layer import Layer
from swatcost.sparsity import SparsityPlan

from .conftest import zoo_network

V, L, H, A, S = 50_257, 12, 768, 12, 1024  # vocabulary, blocks, width, heads and positions of GPT-2
BLOCKS = 12 * L * H * H  # qkv 3 · h², projection h², MLP 8 · h²
NORMS = (2 * L + 1) * H
N = BLOCKS + V * H + S * H + NORMS  # without biases
SCORES = 2 * L * H * S  # MACs per token of Q · Kᵀ and P · V, all s keys


@cache
def traced(build: Callable[..., nn.Module], positions: int, **how: bool) -> swatcost.Network:
    with torch.device("meta"):
        module = build(**how)
    return swatcost.trace(module, input_shape=(positions,), input_dtype="int64", under_amp=False)


def nanogpt() -> swatcost.Network:
    """GPT-2 124M as nanoGPT trains it, without biases: that is the N of 124,337,664 parameters."""
    return traced(gpt2, S, bias=False)


def per_token(network: swatcost.Network, convention: str) -> float:
    flops = swatcost.estimate(network, convention=convention).flops_per_token
    assert flops is not None
    assert flops.dense == flops.sparse
    return flops.dense


def test_parameters_of_gpt2_with_and_without_biases() -> None:
    assert nanogpt().parameter_elements == N == 124_337_664
    biases = L * (3 * H + H + 4 * H + H) + NORMS  # of qkv, projection and MLP, and of as many norms as have weights
    assert zoo_network("gpt2").parameter_elements == N + biases == 124_439_808


def test_parameters_of_llama() -> None:
    # 2 · 32,000 · h + L · (4 h², or 2 h² + 2 h · h / 8 with 8 groups of 64 heads, + 3 h · f + 2 h) + h
    assert zoo_network("llama2_7b").parameter_elements == 6_738_415_616
    assert traced(llama2_13b, 2048).parameter_elements == 13_015_864_320
    assert traced(llama2_70b, 2048).parameter_elements == 68_976_648_192


PER_TOKEN = {
    "6n": (6 * N, 746_025_984),
    "lingua": (6 * (N - V * H) + 7 * L * S * H, 580_502_016),  # 3.5 · 4 · L · s · h / 2
    "neox": (72 * L * H * H + 6 * SCORES + 9 * V * H // 2, 796_542_336),  # ¾ of 6 · V · h
    "megatron": (6 * (BLOCKS + V * H) + 3 * SCORES, 797_815_296),
    "nanochat": (6 * (BLOCKS + V * H) + 6 * SCORES, 854_438_400),
    "megatron-2021": (6 * (BLOCKS + V * H) + 6 * SCORES, 854_438_400),
    "palm": (6 * (N - S * H) + 6 * SCORES, 854_553_600),
    "torchtitan": (6 * N + 6 * SCORES, 859_272_192),
    "mosaic": (6 * N + 6 * SCORES, 859_272_192),
    # 3 · (2 V h twice, and per block 8 h² + 16 h² of weights, 4 s h of scores and values, 3 a s of softmax)
    "chinchilla": (3 * (4 * V * H + L * (24 * H * H + 4 * S * H + 3 * A * S)), 1_087_349_760),
    # transformers counts every parameter that is not one of nn.Embedding: norms, too
    "hf": (6 * (BLOCKS + NORMS), 509_723_136),
    "maxtext": (6 * (BLOCKS + V * H) + 3 * SCORES, 797_815_296),
    "maxtext-2024": (6 * (BLOCKS + V * H) + 6 * SCORES, 854_438_400),
    "exact-causal": (6 * (BLOCKS + V * H) + 6 * 2 * L * H * (S + 1) // 2, 797_870_592),
}


@pytest.mark.parametrize("convention", PER_TOKEN)
def test_flops_per_token_of_gpt2(convention: str) -> None:
    written_out, expected = PER_TOKEN[convention]
    assert per_token(nanogpt(), convention) == written_out == expected


def test_every_convention_of_language_models_has_a_number() -> None:
    assert {each.name for each in LANGUAGE_CONVENTIONS} == PER_TOKEN.keys() - {"exact-causal"}


@pytest.mark.xfail(strict=True, reason="6 · 12 · L · h²: leaves norms out, which the code of transformers counts")
def test_hf_as_it_is_also_given() -> None:
    assert per_token(nanogpt(), "hf") == 509_607_936


def test_nanogpts_notebook() -> None:
    """FLOPs of one sequence, forward, as nanoGPT's transformer_sizing notebook prints them."""
    found = swatcost.estimate(nanogpt(), convention="megatron-2021")
    first = [2 * each.costs.forward.dense for each in found.layers[:6]]
    assert first == [3_623_878_656, 1_610_612_736, 1_610_612_736, 1_207_959_552, 4_831_838_208, 4_831_838_208]
    logits = 2 * found.layers[-1].costs.forward.dense
    assert logits == 79_047_426_048
    assert 2 * found.costs.forward.dense - logits == 212_600_881_152
    assert 2 * found.costs.forward.dense == 291_648_307_200
    assert 2 * found.costs.training.dense == 874_944_921_600


@pytest.mark.parametrize(("build", "tflop"), [(llama2_7b, 1053.4), (llama2_13b, 2018.7), (llama2_70b, 10528.0)])
def test_maxtexts_step_of_12_times_2048_tokens(build: Callable[..., nn.Module], tflop: float) -> None:
    assert round(per_token(traced(build, 2048), "maxtext-2024") * 12 * 2048 / 1e12, 1) == tflop


def test_maxtexts_step_of_4_times_8192_tokens() -> None:
    network, tokens = traced(llama2_7b, 8192), 4 * 8192
    of = {name: per_token(network, name) * tokens / 1e12 for name in ("maxtext-2024", "maxtext")}
    products = [each for each in swatcost.estimate(network).layers if each.layer.is_product]
    attention = 2 * sum(each.costs.training.dense for each in products) * 4 / 1e12
    assert round(attention, 2) == 422.21
    assert round(of["maxtext-2024"] - attention, 2) == 1299.00
    assert round(of["maxtext-2024"] - of["maxtext"], 2) == 211.11  # what is left of it when causal


class Small(nn.Module):
    """12 tokens of 20, width 8, two heads, no biases; `again` checkpoints its block, `own` unties the output layer."""

    def __init__(self, again: bool = False, own: bool = True) -> None:
        super().__init__()
        self.tokens, self.qkv, self.head = nn.Embedding(20, 8), nn.Linear(8, 24, False), nn.Linear(8, 20, False)
        self.again = again
        if not own:
            self.head.weight = self.tokens.weight

    def block(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        return x + F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens)
        x = checkpoint(self.block, x, use_reentrant=False) if self.again else self.block(x)
        return self.head(x)


def small(**how: bool) -> swatcost.Network:
    return traced(Small, 12, **how)


def test_an_untied_output_layer() -> None:
    attention = 6 * 2 * 8 * 12
    assert per_token(small(), "6n") == 6 * (8 * 24 + 2 * 8 * 20)
    assert per_token(small(), "hf") == per_token(small(), "palm") - attention == 6 * (8 * 24 + 8 * 20)
    assert per_token(small(), "torchtitan") == 6 * (8 * 24 + 8 * 20) + attention
    assert per_token(small(), "mosaic") == per_token(small(), "torchtitan") + 6 * 8 * 20
    assert per_token(small(own=False), "hf") == 6 * 8 * 24
    assert per_token(small(own=False), "6n") == 6 * (8 * 24 + 8 * 20)
    # the tokens' embedding as a product, and the output layer again; 3 · 2 heads · 12 FLOPs of softmax in each pass
    assert per_token(small(own=False), "chinchilla") == 6 * (8 * 24 + 2 * 8 * 20) + attention + 3 * 3 * 2 * 12


def test_recomputed_activations() -> None:
    block, attention, logits = 2 * 8 * 24, 2 * 2 * 8 * 12, 2 * 8 * 20
    assert per_token(small(again=True), "megatron-2021") == 4 * (block + attention) + 3 * logits
    assert per_token(small(again=True), "neox") == per_token(small(again=True), "megatron-2021")  # no slip for c = 4
    assert per_token(small(), "neox") == 3 * (block + attention) + 3 * logits * 3 / 4
    assert per_token(small(again=True), "mosaic") == per_token(small(), "mosaic") * 4 / 3
    for left_out in ("palm", "maxtext"):
        assert per_token(small(again=True), left_out) == per_token(small(), left_out)


class Experts(nn.Module):
    """Four experts, of which each token meets one: rows are divided among them."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.experts = nn.Embedding(20, 8), nn.Parameter(torch.zeros(4, 8, 16))
        self.shared, self.head = nn.Linear(16, 16, False), nn.Linear(16, 20, False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens).reshape(4, -1, 8)
        x = torch.bmm(x, self.experts).reshape(*tokens.shape, 16)
        return self.head(self.shared(self.shared(x)))


def test_experts_that_are_active_or_all() -> None:
    network = traced(Experts, 12)
    assert per_token(network, "megatron-2021") == 6 * (8 * 16 + 2 * 16 * 16 + 16 * 20)  # one expert, one layer twice
    assert per_token(network, "nanochat") == 6 * (4 * 8 * 16 + 16 * 16 + 16 * 20)  # every expert, every weight once
    assert per_token(network, "6n") == 6 * network.parameter_elements


def test_sparsity_acts_on_products_alone() -> None:
    network = small(own=False)
    for method, gradient in (("set", 1 / 4), ("swat", 1)):  # the gradient of active weights, or of all
        setting = {"weights": 0.75, "method": method, "first_layer": "sparse"}
        exact = swatcost.estimate(network, convention="megatron-2021", **setting)  # type: ignore[arg-type]
        found = swatcost.estimate(network, convention="chinchilla", **setting)  # type: ignore[arg-type]
        beside = found.beside.training
        assert beside.dense == beside.sparse == 3 * 12 * 20 * 8
        linear = 12 * (8 * 24 + 8 * 20)
        assert exact.costs.forward.sparse == linear / 4 + 12 * 2 * 8 * 12
        assert exact.costs.grad_weight.sparse == linear * gradient
        assert found.costs.forward.sparse - found.beside.forward.sparse == exact.costs.forward.sparse + 12 * 3 * 12


def test_pairs_of_queries_and_keys() -> None:
    sizes = ((1, 1), (5, 5), (5, 3), (3, 5))
    for (queries, keys), causal, left, right in itertools.product(sizes, (False, True), (-1, 0, 1, 7), (-1, 0, 2)):
        ahead = 0 if causal else right
        reads = [
            (query, key)
            for query, key in itertools.product(range(queries), range(keys))
            if (left < 0 or key >= query - left) and (ahead < 0 or key <= query + ahead)
        ]
        held = min(keys, left + 1 + ahead) if left >= 0 and ahead >= 0 else keys
        expected = (6 * queries * keys, 6 * queries * held, 6 * len(reads))
        assert pairs_of(2, 3, queries, keys, causal=causal, window=(left, right)) == expected


def product(**told: object) -> Layer:
    attention = {"queries": 4, "pairs": 16, "in_window": 8, "needed": 7, "causal": True, "computes_scores": True}
    return Layer(
        name="p", kind="product", input_shape=(1, 4, 5), output_shape=(1, 4, 4), weight_shape=(1, 5, 4), weight="",
        element_bytes=4, input_needs_grad=True, weight_trains=True, input_storage=1,
        attention=Attention(**{**attention, **told}),  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("attention", "causal", "forward", "gradients"),
    [  # 16 pairs of 5 features: 80 MACs, and 160 of both gradients
        ("whole", True, 80, 160), ("none", True, 0, 0), ("half", True, 40, 80), ("half", False, 80, 160),
        ("half", None, 80, 160), ("needed", True, 35, 70), ("window", True, 40, 80), ("flash", True, 40, 100),
        ("flash", False, 80, 200), ("softmax", True, 80 + 24, 160 + 48),
    ],
)  # fmt: skip
def test_what_counts_of_attention(attention: str, causal: bool | None, forward: float, gradients: float) -> None:
    convention = replace(CONVENTIONS["exact"], attention=attention)
    costs = convention.count(product(causal=causal), METHODS["dense"], LayerSparsity())
    assert (costs.forward.dense, costs.grad_input.dense) == (forward, gradients)
    assert isinstance(costs.forward.dense, int)


def test_attention_says_no_more_pairs_than_there_are() -> None:
    for wrong in ({"needed": 9}, {"in_window": 17}):
        with pytest.raises(ValueError, match="attention needs"):
            product(**wrong)
    with pytest.raises(ValueError, match="only a product is part of attention, not a layer_norm layer"):
        replace(product(), kind="layer_norm", output_shape=(1, 4, 5))


def attend(**how: object) -> swatcost.Network:
    class Attend(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(x, x, x, **how)  # type: ignore[arg-type]

    return swatcost.trace(Attend(), input_shape=(2, 6, 4), under_amp=False)


def test_what_a_kernel_is_told_is_traced() -> None:
    for how, causal, needed in (
        ({"is_causal": True}, True, 21), ({}, False, 36), ({"attn_mask": torch.zeros(6, 6, device="meta")}, None, 36)
    ):  # fmt: skip
        network = attend(**how)
        scores, values = (each.attention for each in network.layers)
        assert scores is not None
        assert values == replace(scores, computes_scores=False)
        assert (scores.causal, scores.needed) == (causal, 2 * network.batch_size * needed)
        assert scores.queries == 6 * network.batch_size


def test_sliding_windows_of_flash_attention() -> None:
    class Windowed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.ops.aten._flash_attention_forward(
                x, x, x, None, None, 6, 6, 0.0, True, False, window_size_left=1, window_size_right=0
            )[0]

    network = swatcost.trace(Windowed(), input_shape=(6, 2, 8), loss="none", under_amp=False)
    told = network.layers[0].attention
    assert told is not None
    times = 2 * network.batch_size
    assert (told.pairs, told.in_window, told.needed) == (36 * times, 12 * times, 11 * times)  # 1 + 5 · 2


def test_tokens_are_matrices_of_whole_numbers() -> None:
    assert zoo_network("gpt2").tokens == 1024 * zoo_network("gpt2").batch_size
    assert zoo_network("vit_b_16").tokens is None
    board = swatcost.trace(nn.Sequential(nn.Embedding(3, 8), nn.Linear(8, 2)), input_shape=(4, 5), input_dtype="int64")
    assert board.tokens is None  # whole numbers, but not a sequence of them
    assert swatcost.estimate("resnet50").flops_per_token is None


def test_embeddings_are_traced() -> None:
    of_tokens, of_positions = nanogpt().embeddings or ()
    assert (of_tokens.parameter, of_tokens.reads_input) == ("tokens.weight", True)
    assert (of_positions.parameter, of_positions.reads_input, of_positions.lookups) == ("positions.weight", False, S)


def test_an_older_trace_is_not_guessed_at() -> None:
    data = msgspec.json.decode(small().to_json())
    del data["embeddings"]
    for each in data["layers"]:
        del each["attention"]
    older = msgspec.convert(data, swatcost.Network)
    assert older.embeddings is None
    with pytest.raises(
        SwatcostError, match="'6n': the trace of Small does not say which parameters are embeddings: tr"
    ):
        swatcost.estimate(older, convention="6n")
    assert per_token(older, "exact-causal") == per_token(small(), "exact")
    notes = swatcost.estimate(older, convention="exact-causal").assumptions
    assert any("does not say of 2 of 2 products of activations whether they are causal" in each for each in notes)
    with pytest.raises(ValueError, match="no parameter is called 'x', of which rows are looked up"):
        replace(older, embeddings=(Embedding(parameter="x", lookups=1, reads_input=True),))


def test_networks_without_tokens_are_refused_plainly() -> None:
    with pytest.raises(SwatcostError, match=r"^convention 'palm': it counts what a token costs, but .*such as exact$"):
        swatcost.estimate("resnet50", convention="palm")
    network = zoo_network("vit_b_16")
    total = Counting(convention=CONVENTIONS["megatron-2021"]).total(network, SparsityPlan.dense(network))
    first = 768 * 3 * 16 * 16 * 14 * 14  # whose grad_input a formula of parameters counts, too
    assert total.training.dense == swatcost.estimate(network, convention="exact").costs.training.dense + first


def test_the_number_of_tokens_is_an_input_shape() -> None:
    of_tokens = swatcost.load("gpt2", seq_len=512)
    assert of_tokens.input_shapes == ((of_tokens.batch_size, 512),)
    assert of_tokens.layers == swatcost.load("gpt2", input_shape=(512,)).layers


@pytest.mark.parametrize(
    ("model", "asked", "words"),
    [
        ("resnet18", {"seq_len": 512}, "resnet18 does not take tokens"),
        ("gpt2", {"seq_len": 512, "input_shape": (512,)}, "give one of the two"),
        ("gpt2", {"seq_len": 0}, "seq_len 0"),
        ("llama2_7b", {"seq_len": 10**9}, r"its tensors have more than 2\^53 elements"),
    ],
)
def test_a_number_of_tokens_that_has_no_use_is_refused(model: str, asked: dict[str, Any], words: str) -> None:
    with pytest.raises(SwatcostError, match=words):
        swatcost.load(model, **asked)
