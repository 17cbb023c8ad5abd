"""Inference with language models: published caches, counts by hand, laws, and the command."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from swatcost_models.llama import llama2_70b
from torch import Tensor, nn

import swatcost
from swatcost.cli import main
from swatcost.common.errors import SwatcostError
from swatcost.planning.inference import Inference, inference
from swatcost.planning.kv_cache import caches_of
from swatcost.report import render

from .conftest import zoo_network

WIDTH, VOCABULARY, POSITIONS, HEADS, GROUPS, FEATURES, HIDDEN = 16, 40, 12, 4, 2, 4, 24
EXPERTS, ACTIVE = 4, 2
ATTENTION = WIDTH * WIDTH * 2 + 2 * WIDTH * GROUPS * FEATURES  # q, o, and k and v of two heads
EXPERT = 2 * WIDTH * HIDDEN


class Block(nn.Module):
    """Grouped queries, whose keys the block repeats itself where `repeats`; a window; experts."""

    def __init__(self, repeats: bool, window: int | None, experts: bool) -> None:
        super().__init__()
        self.repeats, self.window = repeats, window
        self.q, self.o = nn.Linear(WIDTH, WIDTH, False), nn.Linear(WIDTH, WIDTH, False)
        self.k, self.v = (nn.Linear(WIDTH, GROUPS * FEATURES, False) for _ in range(2))
        self.up = nn.Parameter(torch.zeros(EXPERTS, WIDTH, HIDDEN)) if experts else None
        self.down = nn.Parameter(torch.zeros(EXPERTS, HIDDEN, WIDTH)) if experts else None

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (each(x).unflatten(-1, (-1, FEATURES)).transpose(1, 2) for each in (self.q, self.k, self.v))
        if self.repeats:
            k, v = (
                each[:, :, None].expand(-1, -1, HEADS // GROUPS, -1, -1).reshape(len(x), HEADS, -1, FEATURES)
                for each in (k, v)
            )
        how: dict[str, Any] = {"is_causal": True, "enable_gqa": not self.repeats}
        if self.window is not None:
            place = torch.arange(x.shape[1], device=x.device)
            behind = place[:, None] - place
            how = {"attn_mask": (behind >= 0) & (behind < self.window), "enable_gqa": not self.repeats}
        x = x + self.o(F.scaled_dot_product_attention(q, k, v, **how).transpose(1, 2).flatten(2))
        if self.up is None or self.down is None:
            return x
        rows = x.reshape(-1, WIDTH).repeat_interleave(ACTIVE, 0)
        ends = torch.arange(EXPERTS, dtype=torch.int32, device=x.device)
        found = F.grouped_mm(F.grouped_mm(rows, self.up, offs=ends).relu(), self.down, offs=ends)
        return x + found.reshape(*x.shape[:-1], ACTIVE, WIDTH).sum(-2)


class Small(nn.Module):
    def __init__(self, repeats: bool = False, window: int | None = None, experts: bool = False) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.block, self.norm = Block(repeats, window, experts), nn.RMSNorm(WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY, False)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.norm(self.block(self.tokens(tokens))))


@cache
def small(**how: Any) -> swatcost.Network:
    with torch.device("meta"):
        module = Small(**how)
    return swatcost.trace(module, input_shape=(POSITIONS,), input_dtype="int64", under_amp=False)


def found(prompt: int = 10, generate: int = 3, *, network: Any = None, **asked: Any) -> Inference:
    return inference(network or small(), prompt=prompt, generate=generate, **asked)


# --- published figures --------------------------------------------------------------------------------------------


def test_llama2_7b() -> None:
    run = found(2048, 1, network=zoo_network("llama2_7b"), dtype="fp16")
    assert run.cache_bytes_per_token == 2 * 32 * 32 * 128 * 2 == 524_288
    # N without embeddings and norms: 32 blocks of four square matrices and three of 11,008, and the output layer
    assert run.macs_per_token.dense == 32 * (4 * 4096**2 + 3 * 4096 * 11_008) + 32_000 * 4096
    assert 2 * run.weight_bytes.dense == 4 * 6_738_415_616


def test_grouped_queries_of_llama_with_70_billion_parameters() -> None:
    """Llama 2 and 3 have the same blocks: 80, with 8 heads of keys of 128 features."""
    with torch.device("meta"):
        module = llama2_70b()
    network = swatcost.trace(module, input_shape=(64,), input_dtype="int64", under_amp=False)
    assert found(network=network, dtype="fp16").cache_bytes_per_token == 2 * 80 * 8 * 128 * 2 == 327_680


FAMILIES: dict[str, tuple[dict[str, Any], int, int]] = {
    # two blocks as large as published: bytes per token in 2-byte numbers, and the published model's blocks
    "Llama": (  # Llama-3-8B
        {"hidden_size": 4096, "intermediate_size": 14_336, "num_attention_heads": 32, "num_key_value_heads": 8},
        131_072, 32,
    ),
    "Mixtral": (  # 8x7B
        {
            "hidden_size": 4096, "intermediate_size": 14_336, "num_attention_heads": 32, "num_key_value_heads": 8,
            "num_local_experts": 8, "num_experts_per_tok": 2,
        },
        131_072, 32,
    ),
    "DeepseekV3": ({"vocab_size": 129_280, "first_k_dense_replace": 1}, 70_272, 61),  # (512 + 64) · 2 · 61
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_families_of_transformers(family: str) -> None:
    transformers = pytest.importorskip("transformers")
    sizes, per_token, blocks = FAMILIES[family]
    config = getattr(transformers, f"{family}Config")(**sizes, num_hidden_layers=2, use_cache=False)
    with torch.device("meta"):
        module = getattr(transformers, f"{family}ForCausalLM")(config)
    tokens = torch.zeros(3, 64, dtype=torch.int64, device="meta")
    network = swatcost.trace(module, {"input_ids": tokens}, under_amp=False)
    run = found(network=network, dtype="fp16")
    assert run.cache_bytes_per_token * blocks == 2 * per_token
    assert all(each.is_told for each in run.caches)


def test_latent_attention_by_hand() -> None:
    """DeepSeek-V3: 128 heads, 128 + 64 features of queries and keys, 128 of values, a latent of 512 and 64."""
    transformers = pytest.importorskip("transformers")
    config = transformers.DeepseekV3Config(num_hidden_layers=1, use_cache=False)
    with torch.device("meta"):
        module = transformers.DeepseekV3ForCausalLM(config)
    tokens = torch.zeros(3, 64, dtype=torch.int64, device="meta")
    [one] = caches_of(swatcost.trace(module, {"input_ids": tokens}, under_amp=False))
    assert (one.keys, one.values, one.latent) == (128 * 192, 128 * 128, 512 + 64)
    assert (one.macs, one.latent_macs) == (128 * (192 + 128), 128 * (576 + 512))


# --- by hand ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("repeats", [False, True])
def test_a_block_by_hand(repeats: bool) -> None:
    run = found(10, 3, network=small(repeats=repeats), batch_size=5)
    elements = 2 * GROUPS * FEATURES  # of keys and values, however often the block repeats them
    per_key = 2 * HEADS * FEATURES
    head = WIDTH * VOCABULARY
    assert run.cache_bytes_per_token == 2 * elements
    assert run.cache_bytes == 5 * 13 * 2 * elements
    assert run.macs_per_token.dense == ATTENTION + head
    assert run.prefill.macs.dense == 5 * (10 * ATTENTION + head + per_key * 55)  # 1 + … + 10 pairs
    assert run.decode.macs.dense == 5 * (3 * (ATTENTION + head) + per_key * (11 + 12 + 13))
    weights = ATTENTION + WIDTH + head
    assert run.weight_bytes.dense == 2 * (weights + head)
    assert run.prefill.weight_bytes.dense == 2 * (weights + 40 * WIDTH)  # of 50 tokens, no more rows than there are
    assert run.decode.weight_bytes.dense == 3 * 2 * (weights + 5 * WIDTH)
    assert run.prefill.cache_bytes == 5 * 10 * 2 * elements
    assert run.decode.cache_bytes == 5 * 2 * elements * (11 + 12 + 13)  # 10, 11 and 12 read, and one written
    assert run.caches[0].macs == per_key


def test_times_are_the_longer_of_two() -> None:
    run = found(2048, 2, network=zoo_network("llama2_7b"), device="h100", dtype="bf16")
    assert run.prefill.seconds is not None
    assert run.decode.seconds is not None
    assert run.prefill.seconds.dense == pytest.approx(run.prefill.macs.dense / 494.75e12)  # 989.5 TFLOPS
    moved = run.decode.weight_bytes.dense + run.decode.cache_bytes
    assert run.decode.seconds.dense == pytest.approx(moved / 3.35e12)
    assert (run.prefill.memory_bound, run.decode.memory_bound) == (0.0, 1.0)


def test_a_window_bounds_the_cache() -> None:
    run = found(10, 3, network=small(window=4))
    assert run.caches[0].window == 4
    assert run.cache_bytes == 4 * run.cache_bytes_per_token
    per_key, head = 2 * HEADS * FEATURES, WIDTH * VOCABULARY
    assert run.prefill.macs.dense == 10 * ATTENTION + head + per_key * (1 + 2 + 3 + 7 * 4)
    assert run.decode.macs.dense == 3 * (ATTENTION + head + per_key * 4)


def test_a_step_reads_the_experts_that_are_chosen() -> None:
    run = found(10, 1, network=small(experts=True))
    assert run.macs_per_token.dense == ATTENTION + ACTIVE * EXPERT + WIDTH * VOCABULARY
    others = ATTENTION + WIDTH + WIDTH * VOCABULARY + WIDTH
    assert run.decode.weight_bytes.dense == 2 * (others + ACTIVE * EXPERT)  # one token: 2 of 4 experts
    together = found(10, 1, network=small(experts=True), batch_size=2)  # two tokens leave out a quarter of them
    assert together.decode.weight_bytes.dense == 2 * (others + WIDTH + 0.75 * EXPERTS * EXPERT)


def test_times_with_experts_are_no_bounds() -> None:
    """If all tokens go to the same 2 experts, a step reads these alone: fewer bytes than all as likely give."""
    routed, others = (render(found(network=small(experts=each))) for each in (True, False))
    assert "≈" in routed
    assert "≥" not in routed
    assert "at most" not in routed
    assert "every one of the 4 experts is equally likely" in " ".join(routed.split())
    assert "≥" in others
    assert "≈" not in others


# --- laws ---------------------------------------------------------------------------------------------------------


def test_dense_is_sparsity_zero_and_cost_falls_with_it() -> None:
    asked = {"method": "sr-ste", "first_layer": "sparse"}
    dense, half = found(), found(**asked, weights=0.5)
    assert dense.prefill.macs.dense == dense.prefill.macs.sparse == half.prefill.macs.dense
    assert half.macs_per_token.sparse == half.macs_per_token.dense / 2
    assert half.decode.weight_bytes.sparse < half.decode.weight_bytes.dense == dense.decode.weight_bytes.dense
    assert half.decode.cache_bytes == dense.decode.cache_bytes
    assert half.decode.seconds is not None
    assert half.decode.seconds.sparse < half.decode.seconds.dense
    assert found(weights=0.5, first_layer="sparse").decode == half.decode  # whatever method left them so sparse


def test_work_is_linear_in_the_batch_and_weights_are_read_once() -> None:
    one, eight = found(), found(batch_size=8)
    assert eight.prefill.macs.dense == 8 * one.prefill.macs.dense
    assert eight.decode.cache_bytes == 8 * one.decode.cache_bytes
    assert eight.decode.weight_bytes.dense < 1.5 * one.decode.weight_bytes.dense


# --- refusals and the command -------------------------------------------------------------------------------------


def test_networks_that_generate_nothing_are_refused() -> None:
    with pytest.raises(SwatcostError, match="resnet18 is not a language model that generates tokens"):
        found(network="resnet18")

    class Both(Small):
        def forward(self, tokens: Tensor) -> Tensor:
            x = self.tokens(tokens)
            heads = x.unflatten(-1, (HEADS, FEATURES)).transpose(1, 2)
            return self.head(F.scaled_dot_product_attention(heads, heads, heads).transpose(1, 2).flatten(2))

    with torch.device("meta"):
        both = Both()
    network = swatcost.trace(both, input_shape=(POSITIONS,), input_dtype="int64", under_amp=False)
    with pytest.raises(SwatcostError, match="its attention is not causal, so keys cannot be cached"):
        found(network=network)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--prompt", "0"], "prompt 0: give a whole number from 1"),
        (["--generate", "10M"], "give at most 4,194,304 tokens"),
        (["--convention", "swat"], "--convention: inference counts what is executed, leave it out"),
        (["--optimizer", "adam"], "--optimizer: inference trains nothing, leave it out"),
    ],
)
def test_misuse_is_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inference", "gpt2", *words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert said.err.count("\n") == 1


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["inference", "gpt2", "--prompt", "512", "--generate", "128", "--batch-size", "4"]
    assert main([*words, "--format", "json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data == json.loads(json.dumps(inference("gpt2", prompt=512, generate=128, batch_size=4).to_dict()))
    assert data["cache_bytes_per_token"] == 2 * 12 * 768 * 2
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "cache per token        36.864 kB" in said
    assert "memory-bound" in said
    assert "at most" in said
    assert "learned positions" not in said
    assert main(["inference", "gpt2", "--prompt", "1k"]) == 2
    assert "prompt 1,000 and generate 256: gpt2 has learned 1,024 positions" in capsys.readouterr().err
    assert main([*words, "--device", "rtx2080ti", "--dtype", "fp8"]) == 0
    said = capsys.readouterr().out
    assert "time to first token" not in said
    assert "No times: the profile of rtx2080ti has no rate of fp8" in said


def test_what_has_no_cache_of_its_own_tokens_is_refused() -> None:
    class EncoderDecoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(50, 16), nn.Linear(16, 50)

        def forward(self, source: Tensor, target: Tensor) -> Tensor:
            q, k = self.embed(target)[:, None], self.embed(source)[:, None]
            return self.head(F.scaled_dot_product_attention(q, k, k)[:, 0])

    tokens = torch.zeros(2, 5, dtype=torch.int64)
    both = swatcost.trace(EncoderDecoder(), example_inputs=(tokens, tokens.clone()))
    with pytest.raises(SwatcostError, match="takes 2 inputs: only a decoder of one sequence"):
        inference(both, prompt=2, generate=2)
    layers = nn.Sequential(nn.Embedding(50, 16), nn.Linear(16, 50))
    without = swatcost.trace(layers, input_shape=(5,), input_dtype="int64")
    with pytest.raises(SwatcostError, match="has no attention"):
        inference(without, prompt=2, generate=2)
