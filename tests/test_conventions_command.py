"""`swatcost conventions`: every convention on one network, and what each switch is worth."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

import swatcost
from swatcost.cli import main
from swatcost.counting import CONVENTIONS
from swatcost.counting.switches import SWITCHES
from swatcost.network import Network
from swatcost.planning.conventions import Conventions
from swatcost.report import conventions as report
from swatcost.report import render

from .conftest import zoo_network


@pytest.fixture(scope="module")
def gpt2() -> Conventions:
    return swatcost.conventions(zoo_network("gpt2"), weights=0.8, method="rigl")


def test_each_count_is_an_estimates(gpt2: Conventions) -> None:
    assert [each.convention.name for each in gpt2.counts] == CONVENTIONS.names()
    assert not gpt2.refused
    for each in gpt2.counts:
        one = swatcost.estimate(zoo_network("gpt2"), weights=0.8, method="rigl", convention=each.convention)
        assert each.flops == one.flops_per_token


def test_each_turn_turns_one_switch(gpt2: Conventions) -> None:
    assert len(gpt2.turns) == sum(len(switch.values) - 1 for switch in SWITCHES.values())
    by_value = {(each.switch, each.after): each.flops.dense for each in gpt2.turns}
    exact, per_token = gpt2.flops.dense, 6 * 12  # blocks · 2 · 3
    assert exact - by_value["attention", "none"] == per_token * 2 * 768 * 1024
    assert exact - by_value["attention", "half"] == per_token * 768 * 1024
    assert by_value["embedding", "positions"] - exact == 6 * 1024 * 768
    assert exact - by_value["logits", "untied only"] == 6 * 50_257 * 768
    assert by_value["recompute", "left out"] == by_value["experts", "all"] == exact


def test_the_base_can_be_chosen_and_be_ones_own() -> None:
    mine = replace(CONVENTIONS["palm"], name="mine", attention="half")
    found = swatcost.conventions(zoo_network("gpt2"), convention=mine)
    assert found.counts[0].convention is mine
    assert found.flops == found.counts[0].flops
    whole = next(each for each in found.turns if (each.switch, each.after) == ("attention", "whole"))
    assert whole.flops == found.of("palm").flops
    assert whole.before == "half"


def test_networks_without_tokens_count_per_sample(resnet50: Network) -> None:
    found = swatcost.conventions(resnet50, weights=0.8, acts=0.8)
    assert found.unit == "sample"
    assert [each.convention.name for each in found.counts] == [e.name for e in CONVENTIONS if e.per == "sample"]
    assert found.refused.keys() == {each.name for each in CONVENTIONS if each.per == "token"}
    assert found.of("swat").flops.reduction == swatcost.estimate(resnet50, weights=0.8, acts=0.8).training_reduction
    assert {each.switch for each in found.changing}.isdisjoint({"embedding", "logits", "other_parameters", "experts"})
    assert "Not counted under 6n, hf, palm, nanochat" in " ".join(found.notes)
    assert "such as exact." in " ".join(found.notes)


def test_a_column_for_each_switch_that_matters(gpt2: Conventions) -> None:
    assert {"embedding", "logits", "other_parameters", "attention"} <= set(gpt2.shown_switches)
    assert "experts" not in gpt2.shown_switches  # it changes nothing here
    counts, included, worth = report.sheet(gpt2).tables
    row = next(each for each in included.rows if each[0] == "hf")
    assert {"untied", "in N"} <= set(row)
    assert [each[0] for each in counts.rows] == CONVENTIONS.names()
    assert len(worth.rows) == 1 + len(gpt2.changing)


@pytest.mark.parametrize("words", [("gpt2",), ("gpt2", "--weights", "0.8"), ("resnet50",), ("vit_b_16", "--notes")])
def test_it_fits_in_80_columns(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conventions", *words]) == 0
    assert all(len(line) <= 80 for line in capsys.readouterr().out.splitlines())


def test_every_form(gpt2: Conventions) -> None:
    data = json.loads(render(gpt2, "json"))
    assert data["schema"] == "swatcost.conventions/1"
    assert (data["per"], data["tokens_per_sample"]) == ("token", 1024)
    assert data["conventions"] == [*map(dict, report.rows(gpt2))]
    assert data["conventions"][6]["training_dense_flops"] == 6 * 124_439_808
    header, *lines = render(gpt2, "csv").splitlines()
    assert header.startswith("convention,per,training_dense_flops,")
    assert len(lines) == len(CONVENTIONS.names())
    assert list(gpt2.to_frame()["convention"]) == CONVENTIONS.names()
    assert "| megatron-2021" in render(gpt2, "markdown")
    assert r"\toprule" in render(gpt2, "latex")


def test_what_it_does_not_take_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conventions", "gpt2", "--period", "7"]) == 2
    assert "FLOPs do not depend on it, leave it out" in capsys.readouterr().err
    assert main(["gpt2", "--convention", "plam"]) == 2
    assert "unknown convention 'plam': did you mean palm" in capsys.readouterr().err
    assert main(["resnet50", "--convention", "palm"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_an_estimate_says_flops_per_token() -> None:
    sparse = swatcost.estimate("gpt2", weights=0.8, method="rigl", convention="6n")
    assert "per token" in repr(sparse)
    assert "dense 746.639 MFLOP; 1,024 tokens" in " ".join(repr(sparse).split())
    assert "of training; 1,024 tokens per sequence" in repr(swatcost.estimate("gpt2", convention="6n"))
    totals = sparse.to_dict()["totals"]
    assert totals["flops_per_token"]["dense"] == 746_638_848
    frame = sparse.to_frame()
    assert frame["training_dense_macs"].sum() == sparse.costs.training.dense  # with parameters beside the layers
    assert (
        frame["training_dense_macs"].iloc[-1] == sparse.beside.training.dense == 3 * 1024 * (124_439_808 - 123_532_032)
    )
    assert swatcost.estimate("resnet50").to_dict()["totals"]["flops_per_token"] is None
