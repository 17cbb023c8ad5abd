"""Tables of modules and layers in which equal neighbours are one row: what is folded, and that all of it adds up."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest
from torch import nn

import swatcost
from swatcost.cli import main
from swatcost.report import render
from swatcost.report.estimate import layer_table, merged
from swatcost.report.estimate_data import layer_rows
from swatcost.report.folding import folded_rows
from swatcost.report.sheet import Table


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main([*words]) == 0
    return capsys.readouterr().out


def names(text: str) -> list[str]:
    """The first column of a printed table of layers, without its headings and total."""
    table = next(block for block in text.split("\n\n") if block.startswith(("layer ", "module ")))
    _, rows, *_ = re.split(r"\n-+  .*\n", table)
    return [re.split(r"\s{2,}", line.strip())[0] for line in rows.splitlines()]


BLOCK = ["qkv", "(product)", "(product)", "proj", "mlp.0", "mlp.2"]


def test_equal_blocks_are_one_block(capsys: pytest.CaptureFixture[str]) -> None:
    found = names(printed(capsys, "gpt2", "--weights", "0.5", "--layers"))
    blocks = "blocks.0 … 11"
    assert found == [*(f"{blocks} ×12 {each}" if "(" in each else f"{blocks}.{each} ×12" for each in BLOCK), "head"]
    every = names(printed(capsys, "gpt2", "--weights", "0.5", "--layers", "--no-fold"))
    assert every == [
        f"blocks.{block} {each}" if "(" in each else f"blocks.{block}.{each}" for block in range(12) for each in BLOCK
    ] + ["head"]


def test_32_equal_blocks_of_a_summary_are_one_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert names(printed(capsys, "summary", "llama2_7b")) == ["tokens", "blocks", "0 … 31 ×32", "norm", "head"]
    assert len(names(printed(capsys, "summary", "llama2_7b", "--no-fold"))) == 4 + 32
    assert len(names(repr(swatcost.summary("llama2_7b")))) == 5
    assert len(names(repr(swatcost.summary("llama2_7b", fold=False)))) == 4 + 32


def test_a_table_that_folding_does_not_halve_stays_whole(capsys: pytest.CaptureFixture[str]) -> None:
    of_resnet = ["resnet50", "--weights", "0.5", "--layers"]
    assert len(names(printed(capsys, *of_resnet))) == 54  # torchvision's ResNet-50: 53 convolutions and fc
    folded = names(printed(capsys, *of_resnet, "--fold"))
    assert "layer3.1 … 5.conv2 ×5" in folded  # of six blocks the first halves the image
    assert "layer3.0.conv2" in folded
    assert not any("…" in each for each in names(printed(capsys, "summary", "resnet50")))


@pytest.mark.parametrize("network", ["gpt2", "llama2_7b", "vit_b_16", "resnet101", "densenet121"])
@pytest.mark.parametrize("setting", [{}, {"weights": 0.5, "acts": 0.25}, {"weights": 0.9, "distribution": "erk"}])
def test_what_is_folded_adds_up_to_the_network(network: str, setting: dict[str, Any]) -> None:
    found = swatcost.estimate(network, **setting)
    whole = merged(layer_rows(found))
    folded = folded_rows(whole)
    assert len(folded) <= len(whole)
    assert sum(row["params"] for row in folded) == found.network.parameter_elements
    for how in ("dense", "sparse"):
        total = sum(row[f"training_{how}_macs"] for row in folded)
        assert total == pytest.approx(getattr(found.costs.training, how))
    copies = [int(row["name"].rpartition("×")[2]) if "×" in row["name"] else 1 for row in folded]
    assert sum(copies) == len(whole)


def test_the_printed_column_adds_up_to_the_printed_total(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "llama2_7b", "--weights", "0.5", "--layers")
    table = next(block for block in text.split("\n\n") if block.startswith("layer "))
    numbers = [[float(each) for each in re.findall(r"\d+\.\d{3}", line)] for line in table.splitlines()]
    *rows, total = [each for each in numbers if each]
    assert len(rows) == 10
    for column in range(2):
        assert sum(row[column] for row in rows) == pytest.approx(total[column], abs=0.0005 * (len(rows) + 1))


@pytest.mark.parametrize("distribution", ["kinds", "erk"])
def test_blocks_of_other_sparsities_are_not_equal(distribution: str) -> None:
    source = {"blocks.3.*": 0.9} if distribution == "kinds" else None
    kept = ["blocks.3.qkv"] if distribution == "erk" else None
    found = swatcost.estimate("gpt2", distribution=distribution, source=source, keep_dense=kept, weights=0.5)
    blocks = {row["name"].rpartition(".")[0] for row in folded_rows(layer_rows(found)) if row["kind"] == "linear"}
    assert {"blocks.0 … 2", "blocks.3", "blocks.4 … 11"} <= blocks


def test_layers_that_are_no_blocks_are_not_folded() -> None:
    """Three equal projections are not blocks; a hundred layers of a sequence are."""

    class Projections(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.proj1, self.proj2, self.proj3 = (nn.Linear(4, 4) for _ in range(3))

        def forward(self, x: Any) -> Any:
            return self.proj3(self.proj2(self.proj1(x)))

    apart = swatcost.estimate(Projections(), input_shape=(4,), weights=0.5)
    names = [row["name"] for row in folded_rows(layer_rows(apart))]
    assert names[1:3] == ["proj2", "proj3"]
    sequence = nn.Sequential(*(nn.Linear(4, 4) for _ in range(100)))
    found = swatcost.estimate(sequence, input_shape=(4,), weights=0.5, first_layer="sparse", convention="exact")
    last = folded_rows(layer_rows(found))[-2:]
    assert [each["name"] for each in last] == ["1 … 99 ×99", "(other)"]  # the first needs no gradient of its input


def test_blocks_in_stages_and_names_with_numbers() -> None:
    stages = nn.Sequential(*(
        nn.Sequential(*(nn.ModuleDict({"conv_1": nn.Linear(size, size)}) for _ in range(3))) for size in (4, 8)
    ))  # fmt: skip
    rows = [
        {"name": f"stages.{stage}.block_{block}.conv_1", "weight": "", "kind": "linear", "params": size**2}
        for stage, size in enumerate((4, 8))
        for block in range(len(stages[stage]))
    ]
    found = folded_rows(rows)
    assert [each["name"] for each in found] == [f"stages.{stage}.block_0 … 2.conv_1 ×3" for stage in (0, 1)]
    assert [each["params"] for each in found] == [3 * 16, 3 * 64]
    twice = folded_rows([{**row, "params": 1} for row in rows])
    assert [(each["name"], each["params"]) for each in twice] == [("stages.0 … 1.block_0 … 2.conv_1 ×6", 6)]


def test_json_and_csv_have_every_layer_and_module(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["gpt2", "--weights", "0.5"]
    found = json.loads(printed(capsys, *words, "--format", "json"))
    assert len(found["layers"]) == 12 * len(BLOCK) + 1
    every = list(csv.DictReader(io.StringIO(printed(capsys, *words, "--layers", "--format", "csv"))))
    assert len(every) == 12 * len(BLOCK) + 2  # and (other)
    modules = json.loads(printed(capsys, "summary", "llama2_7b", "--format", "json"))["modules"]
    assert {each["copies"] for each in modules} == {1}
    assert len(modules) == 4 + 32
    folded = json.loads(printed(capsys, "summary", "llama2_7b", "--fold", "--format", "json"))["modules"]
    assert [each["copies"] for each in folded] == [1, 1, 32, 1, 1]


@pytest.mark.parametrize("format", ["markdown", "latex"])
def test_papers_fold_too(format: str) -> None:
    found = swatcost.estimate("gpt2", weights=0.5)
    texts = [render(found, format, layers=True, fold=fold) for fold in (None, True, False)]
    counts = [sum("blocks." in line and "first layer" not in line for line in text.splitlines()) for text in texts]
    assert counts == [len(BLOCK), len(BLOCK), 12 * len(BLOCK)]


def test_the_rule_of_folding() -> None:
    def table(rows: int, folded: int | None) -> Table:
        fewer = None if folded is None else Table(["layer"], [["x"]] * folded)
        return Table(["layer"], [["x"]] * rows, folded=fewer)

    def shown(rows: int, folded: int | None, fold: bool | None = None) -> int:
        return len(table(rows, folded).folding(fold).rows)

    assert [shown(40, 20), shown(40, 21), shown(12, 2), shown(13, 6)] == [20, 40, 12, 6]
    assert [shown(40, 39, True), shown(40, 2, False), shown(40, None, True)] == [39, 40, 40]


def test_a_page_lists_every_layer() -> None:
    found = swatcost.estimate("gpt2", weights=0.5)
    assert len(layer_table(found, "wide").rows) == 12 * len(BLOCK) + 1 + 2  # and (other), and the total


def test_an_option_without_effect_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        (["gpt2", "--no-fold"], "--no-fold has no effect here: the table is the same without it"),
        (
            ["gpt2", "--layers", "--fold", "--format", "json"],
            "--fold has no effect here: the json is the same without it",
        ),
        (
            ["summary", "resnet50", "--depth", "1", "--no-fold"],
            "--no-fold has no effect here: no neighbouring modules are equal",
        ),
    ):
        assert main(words) == 0
        assert said in " ".join(capsys.readouterr().err.split())
