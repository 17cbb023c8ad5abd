"""Runs with several methods: equal data, equal FLOPs, equal time. Arithmetic written out."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from swatcost.cli import main
from swatcost.common.errors import SwatcostError
from swatcost.network import Network
from swatcost.planning import RunComparison, compare_runs, plan_run
from swatcost.report import render

from .conftest import zoo_network

BLOCKS = 12 * 12 * 768**2  # weights of GPT-2's blocks, of which two thirds are feed-forward
ATTENTION, LOGITS = 12 * 12 * 768 * 1024, 6 * 50_257 * 768  # FLOPs per token, which no method here shortens
DENSE = 6 * BLOCKS + ATTENTION + LOGITS
RUN: dict[str, Any] = {
    "tokens": "300B", "batch_size": 512, "gpus": 8, "accumulate": 4, "device": "a100", "precision": "amp", "mfu": 0.4,
    "price": 2,
}  # fmt: skip
METHODS = ["spdf:weights=0.75", "slope", "fst", "moe", "lora"]


@pytest.fixture(scope="module")
def gpt2() -> Network:
    return zoo_network("gpt2")


@pytest.fixture(scope="module")
def found(gpt2: Network) -> RunComparison:
    return compare_runs(gpt2, methods=METHODS, **RUN)


def test_flops_of_each_method_by_hand(found: RunComparison) -> None:
    per_token = {
        "dense": DENSE,
        "spdf:weights=0.75": 6 * BLOCKS * 0.25 + ATTENTION + LOGITS,
        "moe": DENSE - 6 * BLOCKS * 2 / 3 * 3 / 4,  # 2 of 8 experts
        "fst": DENSE - 6 * BLOCKS * 2 / 3 * 1 / 2 * 5 / 6,  # half, but for the last sixth of the run
    }
    assert DENSE == 854_438_400
    for name, each in per_token.items():
        assert found.run(name).training_flops == pytest.approx(3e11 * each, rel=1e-12), name
        # for the FLOPs of the dense run
        assert found.run(name, "flops").data == pytest.approx(3e11 * DENSE / each, rel=1e-12)
    assert found.run("spdf:weights=0.75", "flops").length == pytest.approx(1.80936, abs=1e-5)  # 854.4384 / 472.2324


@pytest.mark.parametrize("name", ["dense", *METHODS])
def test_what_is_equal_is_equal(name: str, found: RunComparison) -> None:
    dense = found.dense
    assert found.run(name).data == dense.tokens
    assert found.run(name, "flops").training_flops == pytest.approx(dense.training_flops.dense)
    assert found.run(name, "time").seconds.attainable == pytest.approx(dense.seconds.dense)
    assert found.run(name, "time").gpu_hours.attainable == pytest.approx(dense.gpu_hours.dense)
    money = found.run(name, "time").money
    assert money is not None
    assert dense.money is not None
    assert money.attainable == pytest.approx(dense.money.dense)
    assert found.run(name, "ideal time").seconds.ideal == pytest.approx(dense.seconds.dense)


def test_a_run_is_the_methods_plan(gpt2: Network, found: RunComparison) -> None:
    alone = plan_run(gpt2, method="slope", convention="exact", **RUN)
    assert found.runs["slope"].training_flops == alone.training_flops
    assert found.runs["slope"].seconds == alone.seconds
    assert found.peak_bytes["slope"] == alone.peak_bytes
    assert found.runs["spdf:weights=0.75"].estimate.plan.weights == 0.75
    assert found.runs["slope"].estimate.plan.pattern == (2, 4)


def test_one_target_for_all_but_those_with_their_own(gpt2: Network) -> None:
    found = compare_runs(gpt2, methods=["set", "sr-ste", "spdf:weights=0.9"], tokens="1B", weights=0.75)
    assert {name: each.estimate.plan.weights for name, each in found.runs.items()} == {
        "dense": None, "set": 0.75, "sr-ste": 0.75, "spdf:weights=0.9": 0.9,
    }  # fmt: skip
    assert found.runs["sr-ste"].estimate.plan.pattern == (1, 4)


def test_the_convention_is_exact_unless_it_is_given(gpt2: Network, found: RunComparison) -> None:
    assert {each.estimate.convention.name for each in found.runs.values()} == {"exact"}
    other = compare_runs(gpt2, methods=["slope"], tokens="1B", convention="swat")
    assert other.dense.estimate.convention.name == "swat"


def test_what_cannot_be_planned_is_named(gpt2: Network) -> None:
    found = compare_runs(gpt2, methods=["set", "slope"], tokens="1B")
    assert list(found.runs) == ["dense", "slope"]
    assert found.refused["set"].startswith("method 'set' has no sparsity of its own: write set:weights=0.75")
    assert any("set is left out" in each for each in found.notes)
    for given, said in [
        ({"methods": ["set"]}, "has no sparsity of its own"),
        ({"methods": ["slope", "slope"]}, "given twice"),
        ({"methods": ["slop"]}, "did you mean slope"),
        ({"methods": ["slope"], "method": "slope"}, "method: several are compared"),
        ({"methods": ["slope"], "tokens": None}, "give epochs"),
    ]:  # fmt: skip
        with pytest.raises(SwatcostError, match=said):
            compare_runs(gpt2, **{"tokens": "1B", **given})


def test_a_peak_that_is_not_modelled_is_said(gpt2: Network) -> None:
    found = compare_runs(gpt2, methods=["slope"], tokens="1B", gpus=8, sharding="fsdp")
    assert isinstance(found.peak_bytes["slope"], str)
    assert "not modelled" in render(found)
    assert any("slope: peak memory is not modelled" in each for each in found.notes)
    assert not isinstance(found.peak_bytes["dense"], str)
    assert json.loads(render(found, "json"))["by_method"]["slope"]["peak_bytes"] is None


def test_images_are_compared_by_epochs(resnet50: Network) -> None:
    found = compare_runs(resnet50, methods=["set"], weights=0.9)
    assert found.run("set").data == 90
    assert "epochs seen" in render(found)


def test_a_simulated_machine_has_one_answer(gpt2: Network) -> None:
    found = compare_runs(gpt2, methods=["swat:weights=0.9,acts=0.9"], tokens="1B", device="bit-tactical")
    text = render(found)
    assert "simulated" in text
    assert "attainable" not in text.lower()
    assert "ideal" not in text.lower()


@pytest.mark.parametrize("width", [80, 140])
def test_tables_fit(width: int, found: RunComparison) -> None:
    assert max(map(len, render(found, width=width).splitlines())) <= width


def test_it_says_that_quality_is_not_predicted(found: RunComparison) -> None:
    assert "Nothing here predicts what a model has learned" in " ".join(render(found).split())


def test_the_printed_flops_are_those_of_the_file(found: RunComparison) -> None:
    rows = list(csv.DictReader(io.StringIO(render(found, "csv"))))
    assert len(rows) == 6 * 4  # methods, what is equal
    dense = next(each for each in rows if (each["method"], each["equal"]) == ("dense", "data"))
    assert float(dense["tokens"]) == 3e11
    assert float(dense["training_flops"]) == 3e11 * 854_438_400
    spdf = next(each for each in rows if (each["method"], each["equal"]) == ("spdf:weights=0.75", "flops"))
    assert float(spdf["training_flops"]) == pytest.approx(3e11 * 854_438_400)
    # 6 · 84,934,656 FLOPs per token in the blocks' weights, of which a quarter is left: 472,232,448
    assert float(spdf["tokens"]) == pytest.approx(3e11 * 854_438_400 / 472_232_448)
    text = render(found)
    assert "2.563e20" in text  # 3e11 · 854,438,400
    assert "1.417e20" in text  # 3e11 · 472,232,448


@pytest.mark.parametrize("form", ["markdown", "latex"])
def test_a_paper_gets_the_table_of_equal_tokens(form: str, found: RunComparison) -> None:
    text = render(found, form)
    assert "equal tokens" in text
    assert "spdf:weights=0.75" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--methods", "slope", "--method", "slope"], "--method: --methods names those that are compared"),
        (["--methods", "slope", "--plot", "out.png"], "--plot: it draws the schedule of one method"),
        (["--methods", "spdf"], "method 'spdf' has no sparsity of its own: write spdf:weights=0.75"),
        (["--methods", "spdf:weights=1"], "weights=1: give a number from 0 to 0.9999"),
    ],
)
def test_one_line_says_what_was_wrong(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "gpt2", "--tokens", "1B", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err


def test_an_option_of_execution_that_changes_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "gpt2", "--tokens", "1B", "--methods", "slope", "--sharding", "fsdp"]
    assert main(words) == 0
    assert "--sharding has no effect here" in capsys.readouterr().err
