"""What a sample is where the inputs are tokens, and work per token in tables, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
import torch
from torch import nn

import swatcost
from swatcost.cli import main
from swatcost.report import FORMATS, render

WIDTH, TOKENS, BLOCKS, VOCABULARY = 768, 1024, 12, 50_257
FORWARD = BLOCKS * (12 * WIDTH**2 + 2 * TOKENS * WIDTH) + VOCABULARY * WIDTH
"""MACs of GPT-2 per token: 12 · width² weights in each block, Q · Kᵀ and mixing, and the head: 142,406,400."""


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main([*words]) == 0
    return capsys.readouterr().out


def test_json_and_csv_hold_both(capsys: pytest.CaptureFixture[str]) -> None:
    totals = swatcost.estimate("gpt2", weights=0.5, convention="exact").to_dict()["totals"]
    assert totals["tokens_per_sample"] == TOKENS
    assert totals["macs"]["forward"]["dense"] == TOKENS * FORWARD
    assert totals["macs_per_token"]["forward"]["dense"] == FORWARD == 142_406_400
    for name, each in totals["macs_per_token"].items():
        for how in ("dense", "sparse"):
            assert TOKENS * each[how] == pytest.approx(totals["macs"][name][how])
    assert totals["flops_per_token"]["sparse"] == pytest.approx(2 * totals["macs_per_token"]["training"]["sparse"])
    rows = list(csv.DictReader(io.StringIO(printed(capsys, "gpt2", "--format", "csv"))))
    (found,) = (each for each in rows if (each["quantity"], each["unit"]) == ("forward", "MACs/token"))
    assert int(found["dense"]) == FORWARD
    assert swatcost.estimate("resnet50").to_dict()["totals"]["macs_per_token"] is None


def test_tables_say_what_a_sample_is(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--weights", "0.5"]):
        text = printed(capsys, "gpt2", *words)
        assert "MACs per sequence, convention swat" in text
        assert "1,024 tokens per sequence" in " ".join(text.split())
        assert "per sample" not in text
    assert "per sequence" in printed(capsys, "summary", "gpt2")
    for of in (swatcost.estimate("gpt2"), swatcost.summary("gpt2")):
        assert "A sample is one sequence of 1,024 tokens." in of.notes
    images = repr(swatcost.estimate("vit_b_16"))  # its tokens are patches, not inputs
    assert "MACs per sample" in images
    assert "sequence" not in images


def test_work_per_token_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "gpt2", "--weights", "0.5", "--per", "token")
    assert "MACs per token, convention swat" in text
    (forward,) = (line for line in text.splitlines() if line.startswith("forward, inference"))
    assert forward.split()[2:4] == ["142.406", "M"]


@pytest.mark.parametrize("command", [["summary", "gpt2", "--depth", "1"], ["gpt2", "--layers"]])
def test_layers_and_modules_per_token_add_up(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, *command, "--weights", "0.5", "--per", "token", "--no-fold")
    table = next(block for block in text.split("\n\n") if block.startswith(("layer ", "module ")))
    assert "[kMAC/token]" in table
    (total,) = (line for line in table.splitlines() if line.startswith("total"))
    of_rows = [
        numbers
        for line in table.splitlines()
        if not line.startswith(("total", " ", "-", "layer", "module"))
        and (numbers := [float(each) for each in re.findall(r"\d+\.\d{3}(?!\d)", line)])
    ]
    sums = [sum(column) for column in zip(*of_rows, strict=True)]
    assert sums[0] == pytest.approx(3 * FORWARD / 1e3)
    for found, whole in zip(sums, [float(each) for each in re.findall(r"\d+\.\d{3}", total)], strict=True):
        assert found == pytest.approx(whole, abs=0.001 * (len(of_rows) + 1))


@pytest.mark.parametrize("format", FORMATS)
def test_every_form(format: str) -> None:
    for found in (swatcost.estimate("gpt2", weights=0.5), swatcost.summary("gpt2", weights=0.5)):
        whole, each = (render(found, format, per=per, layers=True) for per in ("sample", "token"))
        assert (whole == each) == (format in ("json", "csv"))


def test_times_and_memory_stay_those_of_a_step() -> None:
    found = swatcost.estimate("gpt2", weights=0.5)
    parts = [render(found, "table", per=per).split("\n\n") for per in ("sample", "token")]
    assert [one == other for one, other in zip(*parts, strict=True)].count(False) == 1  # the table of work


@pytest.mark.parametrize("words", [["resnet50"], ["summary", "resnet50"]])
def test_a_network_without_tokens_has_no_work_per_token(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--per", "token"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "per token: the inputs of resnet50 are not tokens" in captured.err
    with pytest.raises(swatcost.SwatcostError, match="per 'epoch'"):
        render(swatcost.estimate("resnet50"), per="epoch")


def test_a_head_alone_by_hand() -> None:
    """Five tokens in each sequence, and a head of 4 × 7 weights."""

    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.head = nn.Embedding(7, 4), nn.Linear(4, 7)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.head(self.words(tokens))
            return found

    network = swatcost.trace(Words(), example_inputs=torch.zeros(2, 5, dtype=torch.int64))
    totals = json.loads(render(swatcost.estimate(network), "json"))["totals"]
    assert totals["tokens_per_sample"] == 5
    assert totals["macs_per_token"]["forward"] == {"dense": 4 * 7, "sparse": 4 * 7}
