"""Runs that are planned in tokens: arithmetic written out, and what papers print of their runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import swatcost
from swatcost.cli import main
from swatcost.common.errors import SwatcostError
from swatcost.network import Network
from swatcost.planning import plan_run
from swatcost.planning.whole_run import PFLOP_S_DAY
from swatcost.report import render
from swatcost.report.numbers import spans, token_count

from .conftest import zoo_network

PER_TOKEN = 854_438_400  # FLOPs of GPT-2: 72 · 12 · 768² + 12 · 12 · 768 · 1024 + 6 · 50,257 · 768
LOGITS = 6 * 50_257 * 768  # of these, in the output layer
PEAK = 312e12  # FLOP/s of an A100's dense bf16 products (NVIDIA's data sheet)
ON_A100: dict[str, Any] = {"device": "a100", "precision": "bf16"}


@pytest.fixture(scope="module")
def gpt2() -> Network:
    return zoo_network("gpt2")


@pytest.fixture(scope="module")
def llama() -> Network:
    return zoo_network("llama2_7b")


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        result: Tensor = x + self.mlp(self.norm2(x))
        return result


class GPT3(nn.Module):
    """Brown et al. (2020), Table 2.1: a context of 2048, and the output layer's weight is the tokens' embedding."""

    def __init__(self, width: int, heads: int, blocks: int) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(50_257, width), nn.Embedding(2048, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(blocks)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 50_257, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        result: Tensor = self.head(self.norm(self.blocks(x)))
        return result


def test_iterations_and_flops_by_hand(gpt2: Network) -> None:
    found = plan_run(gpt2, tokens=10**9, batch_size=512)
    assert found.iterations == 1908  # ceil(10⁹ / (512 · 1024 = 524,288) = 1907.3)
    assert found.samples == 976_563  # ceil(10⁹ / 1024 = 976,562.5)
    assert found.tokens == 10**9
    assert found.training_flops.dense == 10**9 * PER_TOKEN
    assert found.estimate.steps == 1908  # what a method's schedule is averaged over
    assert found.training_flops.dense / PFLOP_S_DAY == pytest.approx(8.544384e17 / (1e15 * 24 * 3600))


def test_whole_sequences_are_samples(gpt2: Network) -> None:
    in_tokens = plan_run(gpt2, tokens=1280 * 1024, batch_size=64)
    in_samples = plan_run(gpt2, samples=640, epochs=2, batch_size=64)
    assert in_tokens.training_flops == in_samples.training_flops
    assert in_tokens.seconds == in_samples.seconds
    assert in_tokens.tokens == in_samples.tokens == 1_310_720  # seen twice, counted twice


def test_tokens_as_people_write_them(gpt2: Network) -> None:
    runs = [plan_run(gpt2, tokens=each) for each in (300_000_000_000, 3e11, "300B", "0.3T", "3e11")]
    assert {each.tokens for each in runs} == {300 * 10**9}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tokens": 1000, "epochs": 2}, "epochs: the tokens set the length of the run"),
        ({"tokens": 1000, "dataset": "imagenet"}, "dataset: the tokens set the length of the run"),
        ({"tokens": 1000, "recipe": "cifar"}, "recipe: the tokens set the length of the run"),
        ({"tokens": 0}, "tokens 0: give a whole number from 1 to 10^15"),
        ({"tokens": 10**15 + 1}, "give a whole number from 1 to 10^15"),
        ({"tokens": 0.5}, "tokens 0.5: give a whole number"),
        ({"tokens": float("nan")}, "tokens nan: give a whole number"),
        ({"tokens": "many"}, "'many' is not a whole number"),
        ({}, "give epochs and dataset or samples, or tokens, or a recipe"),
    ],
)
def test_lengths_that_are_refused(given: dict[str, Any], said: str, gpt2: Network) -> None:
    with pytest.raises(SwatcostError) as raised:
        plan_run(gpt2, **given)
    assert said in str(raised.value)


def test_a_network_without_tokens(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "resnet50", "--tokens", "3B"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "tokens: the inputs of resnet50 are not tokens" in err


@pytest.mark.parametrize(
    ("sharing", "computed"),
    [
        ({}, 1),
        ({"sharding": "fsdp"}, 1),
        ({"tensor_parallel": 4}, (PER_TOKEN + 3 * LOGITS) / PER_TOKEN),  # each of four GPUs computes the whole head
        ({"accumulate": 2}, 1),
    ],
)
def test_utilisation_is_flops_over_what_the_gpus_could_do(
    sharing: dict[str, Any], computed: float, gpt2: Network
) -> None:
    found = plan_run(gpt2, tokens=64 * 1024 * 100, batch_size=64, gpus=8, mfu=0.4, **sharing, **ON_A100)
    possible = found.gpus * found.seconds.dense * PEAK
    assert found.utilisation == pytest.approx(found.exact_flops.dense / possible)
    computing = found.compute_seconds.dense / found.seconds.dense  # not waiting for what is sent
    assert found.utilisation == pytest.approx(0.4 / computed * computing)
    assert found.utilisation is not None
    rate = found.tokens_per_second
    assert rate is not None
    assert rate.dense * PER_TOKEN == pytest.approx(possible * found.utilisation / found.seconds.dense)


def test_a_slow_link_lowers_the_utilisation_of_the_run(gpt2: Network) -> None:
    found = plan_run(gpt2, tokens="1B", batch_size=64, gpus=8, mfu=0.4, link="1GB", **ON_A100)
    assert found.exposed_traffic_seconds is not None
    share = found.exposed_traffic_seconds.dense / found.seconds.dense
    assert share > 0.1
    assert found.utilisation == pytest.approx(0.4 * (1 - share), rel=1e-3)  # the last batch counts as a whole one
    assert found.estimate.dense_step.utilisation == pytest.approx(0.4)


def test_gpu_hours_of_llama_2_at_a_given_utilisation(llama: Network) -> None:
    found = plan_run(
        llama, tokens="2T", batch_size=1024, gpus=1024, sharding="fsdp", mfu=0.4, price=2, watts=400, **ON_A100
    )
    per_token = 46_084_915_200  # 6 · 6,607,077,376 (matrices of blocks and head) + 12 · 32 · 4096 · 4096 (attention)
    assert per_token == 6 * (32 * (4 * 4096**2 + 3 * 4096 * 11_008) + 32_000 * 4096) + 12 * 32 * 4096 * 4096
    hours = 2e12 * per_token / (0.4 * PEAK) / 3600  # 205,150
    assert found.gpu_hours.dense == pytest.approx(hours, rel=2e-6)  # the last batch counts as a whole one
    assert found.money is not None
    assert found.money.dense == pytest.approx(2 * hours, rel=2e-6)
    assert found.energy_kwh is not None
    assert found.energy_kwh.dense == pytest.approx(0.4 * hours, rel=2e-6)


def test_the_utilisation_that_llama_2s_hours_imply(llama: Network) -> None:
    """184,320 hours of A100s for 2 T tokens (Touvron et al., 2023, Table 2): a sanity check."""
    implied = {
        name: plan_run(llama, tokens="2T", convention=name).training_flops.dense / (184_320 * 3600 * PEAK)
        for name in ("exact", "exact-causal", "6n")
    }
    assert {name: f"{each:.1%}" for name, each in implied.items()} == {
        "exact": "44.5%", "exact-causal": "41.4%", "6n": "39.1%",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("width", "blocks", "keys", "hidden", "hours", "implied"),
    [
        (4096, 32, 4096, 11_008, 184_320, "44.5%"),
        (5120, 40, 5120, 13_824, 368_640, "42.1%"),
        (8192, 80, 1024, 28_672, 1_720_320, "46.0%"),  # grouped queries
    ],
)
def test_the_documented_utilisation_of_llama_2_by_hand(
    width: int, blocks: int, keys: int, hidden: int, hours: int, implied: str
) -> None:
    matrices = blocks * width * (2 * width + 2 * keys + 3 * hidden) + 32_000 * width
    flops = 2e12 * (6 * matrices + 12 * blocks * width * 4096)  # attention in full
    assert f"{flops / (hours * 3600 * PEAK):.1%}" == implied
    page = (Path(__file__).parents[1] / "docs" / "planning.md").read_text(encoding="utf-8")
    assert f"{hours:,} hours" in page
    assert f"{flops:.3e} FLOP".replace("e+", "e") in page
    assert implied.replace("%", " %") in page


def test_gpt_3_as_its_paper_counts_it() -> None:
    """Brown et al. (2020), Table D.1: 174,600 M parameters, 6 FLOPs per parameter and token, 300 B tokens."""
    with torch.device("meta"):
        network = swatcost.trace(GPT3(12_288, 96, 96), input_shape=(2048,), input_dtype="int64", under_amp=False)
    blocks, embeddings = 12 * 96 * 12_288**2, (50_257 + 2048) * 12_288
    small = 96 * (9 + 4) * 12_288 + 2 * 12_288  # biases of 3 + 1 + 4 + 1 widths and two norms per block, the last norm
    assert network.parameter_elements == blocks + embeddings + small == 174_604_259_328
    printed = plan_run(network, tokens="300B", convention="6n")
    assert f"{printed.training_flops.dense:.2e}" == "3.14e+23"
    assert f"{printed.training_flops.dense / PFLOP_S_DAY:.2e}" == "3.64e+03"  # petaflop/s-days
    # Narayanan et al. (2021), Section 5.1: 8 · T · P / (n · X) is 34 days at X = 140 TFLOP/s, recomputation included:
    # three quarters of them are the model's. Their 8 · P leaves attention's scores out, 2.8 % of the FLOPs
    found = plan_run(network, tokens="300B", batch_size=1024, gpus=1024, sharding="fsdp", mfu=105e12 / PEAK, **ON_A100)
    days = found.compute_seconds.dense / 86_400
    assert days == pytest.approx(3e11 * (72 * 96 * 12_288**2 + 12 * 96 * 12_288 * 2048 + 6 * 50_257 * 12_288)
                                 / (1024 * 105e12) / 86_400, rel=1e-4)  # fmt: skip
    assert f"{8 * 3e11 * 175e9 / (1024 * 140e12) / 86_400:.0f}, {days:.1f}" == "34, 34.8"


def test_the_report_in_the_words_of_papers(llama: Network) -> None:
    asked: dict[str, Any] = {"tokens": "2T", "batch_size": 1024, "gpus": 1024, "sharding": "fsdp", "price": 2}
    found = plan_run(llama, **asked, mfu=0.4, **ON_A100)
    text = render(found)
    assert max(map(len, text.splitlines())) <= 80
    words = " ".join(text.split())
    for said in (
        "2 T tokens in 488,281,250 sequences, batch 1024 (4.194 M tokens): 476,838 iterations",
        "training FLOPs 9.217e22 FLOP", "… per token 46.085 GFLOP", "… in PFLOP/s-days 1,066.8",
        "time, full overlap 8 d 8 h", "MFU of the dense run 40.00 % as given", "GPU time 205,150.4 GPU-h",
        "tokens per second 2.773 M", "of 80.000 GB",
    ):  # fmt: skip
        assert said in words
    data = json.loads(render(found, "json"))
    assert data["tokens"] == 2 * 10**12
    assert data["run"]["flops_per_token"]["dense"] * data["tokens"] == data["run"]["training_flops"]["dense"]
    assert data["run_flops_utilisation"] == pytest.approx(0.4)
    assert "Pipeline, sequence and expert parallelism are not modelled." in found.notes


def test_a_short_stage_is_told_from_the_next(gpt2: Network) -> None:
    assert spans([(0, 0.9999), (0.9999, 1)]) == ["0.0000 – 0.9999", "0.9999 – 1.0000"]
    assert spans([(0, 45), (45, 90)]) == ["0.0 – 45.0", "45.0 – 90.0"]
    short = "spdf:dense_share=0.001"
    in_epochs = render(plan_run(gpt2, samples=6400, epochs=1, method=short, weights=0.75))
    assert "0.000 – 0.999 " in in_epochs
    in_tokens = render(plan_run(gpt2, tokens="300B", method=short, weights=0.75))
    assert "tokens [B]" in in_tokens
    assert "299.7 – 300.0" in in_tokens
    moments = plan_run(gpt2, tokens="300B", method=short, weights=0.75).to_dict()["schedule"]
    assert moments[-1]["begin_token"] == pytest.approx(0.999 * 3e11)


def test_notes_are_true_of_the_plan(gpt2: Network) -> None:
    slope = " ".join(plan_run(gpt2, tokens="1B", method="slope").notes)
    assert "dense gradient in some steps" not in slope  # its phases differ by adapters alone
    rigl = " ".join(plan_run(gpt2, tokens="1B", method="rigl", weights=0.9).notes)
    assert "dense gradient in some steps" in rigl
    fst = " ".join(plan_run(gpt2, tokens="1B", method="fst").notes)
    assert "Memory is at the target sparsity" not in fst
    assert "the least sparse ones" in fst  # the dense end
    assert "Memory is at the target sparsity" in " ".join(swatcost.estimate(gpt2, method="fst").notes)
    assert "The last batch of the run counts as a full one." in fst


def test_numbers_of_tokens() -> None:
    assert [token_count(each) for each in (512, 4_194_304, 300e9, 2e12, 15.6e12)] == [
        "512", "4.194 M", "300 B", "2 T", "15.6 T",
    ]  # fmt: skip


def test_fewer_tokens_than_an_iteration_takes_are_refused() -> None:
    with pytest.raises(SwatcostError, match=r"tokens 31,744: one iteration takes 32,768, 32 sequences of 1,024"):
        plan_run("gpt2", tokens=31_744)
    assert plan_run("gpt2", tokens=32_768).iterations == 1
