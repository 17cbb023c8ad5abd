"""What `swatcost summary` and a network print: tables that fit and add up, CSV, JSON and HTML."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import swatcost
from swatcost.cli import main
from swatcost.planning.summary import COLUMNS
from swatcost.report import FORMATS, render

from .conftest import zoo_network
from .test_summary import network_called


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["summary", *words]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize(
    "words",
    [
        ("resnet50", "--weights", "0.8", "--acts", "0.8"),
        ("densenet121", "--depth", "all"),
        ("vit_b_16", "--depth", "3", "--fold", "--weights", "0.5"),
        ("convnext_base", "--columns", ",".join(COLUMNS)),
    ],
)
def test_it_fits_the_terminal(
    words: tuple[str, ...], width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = printed(capsys, *words).splitlines()
    assert max(map(len, lines)) <= width
    assert "\N{NO-BREAK SPACE}" not in "".join(lines)
    wider = width == 140 and "--columns" not in words
    assert any("grad" in line for line in lines[:9]) >= (wider and "--weights" not in words)


def test_what_does_not_fit_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    words = ("cifar_resnet18", "--depth", "1", "--columns", "saved,params,forward,grad_input,grad_weight,calls,kind")
    found = printed(capsys, *words, "--weights", "0.5")
    header = found.split("\n\n")[2].splitlines()[0]
    assert header.split()[:3] == ["module", "saved", "saved"]  # the order that was asked for; the first ones stay
    assert "use a wider terminal or --format csv)" in " ".join(found.split())
    left_out = re.search(r"\(not shown: ([a-z_,\s]+);\s", found)
    assert left_out is not None
    assert set(left_out[1].replace("\n", " ").split(", ")) < set(words[-1].split(","))


def test_long_names_are_cut_in_their_middle() -> None:
    module = nn.Sequential()
    for number in (9, 10):
        module.add_module(f"a_{'very_' * 12}long_block_{number}", nn.Linear(4, 4))
    lines = render(swatcost.summary(module, input_shape=(4,)), "table", width=80).splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line.split()[0] for line in lines if line.startswith("a_very")]
    assert len(rows) == len(set(rows)) == 2
    assert all("…" in row for row in rows)
    assert [row[-2:] for row in rows] == ["_9", "10"]


def test_printed_columns_add_up(capsys: pytest.CaptureFixture[str]) -> None:
    """At the first level, to the digits that are printed."""
    found = printed(
        capsys, "resnet50", "--weights", "0.8", "--acts", "0.8", "--depth", "1", "--columns", "params,training"
    )
    rows = [line.split() for line in found.split("\n\n")[2].splitlines()]
    numbers = {
        row[0]: [float(each.replace(",", "")) for each in row[1:]]
        for row in rows
        if len(row) == 4 and row[0] != "module" and "-" not in row[0] and not row[0].startswith(("dense", "["))
    }
    total = numbers.pop("total")
    assert total[0] == 25_557_032  # torchvision's documentation
    for column, whole in enumerate(total):
        assert sum(row[column] for row in numbers.values()) == pytest.approx(whole, abs=0.0005 * (len(numbers) + 1))


def test_csv_holds_what_was_chosen_unrounded(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("vit_b_16", "--depth", "3", "--weights", "0.5", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(printed(capsys, *words, "--columns", "params,training"))))
    assert list(rows[0]) == [
        "module", "level", "innermost", "copies", "params", "training_dense_macs", "training_sparse_macs",
    ]  # fmt: skip
    innermost = [row for row in rows if row["innermost"] == "True"]
    assert sum(int(row["params"]) for row in innermost) == 86_567_656
    network = swatcost.estimate("vit_b_16", weights=0.5)
    assert sum(float(row["training_dense_macs"]) for row in innermost) == network.costs.training.dense
    every = list(csv.DictReader(io.StringIO(printed(capsys, *words))))
    assert {"kind", "output_shape", "saved_dense_bytes", "inference_sparse_macs"} < set(every[0])


def test_json_holds_every_column(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(capsys, "resnet50", "--weights", "0.8", "--columns", "params", "--format", "json"))
    assert found["schema"] == "swatcost.summary/1"
    assert found["total"]["params"] == 25_557_032
    assert found["setting"]["weights"] == 0.8
    assert {"forward_dense_macs", "saved_sparse_bytes", "weight_sparsity", "kind"} < set(found["modules"][0])
    assert found["total"]["training_reduction"] == pytest.approx(
        swatcost.estimate("resnet50", weights=0.8).training_reduction
    )


@pytest.mark.parametrize("format", FORMATS)
def test_every_form(format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out"
    assert printed(capsys, "cifar_resnet18", "--format", format, "--output", str(path)) == ""
    text = path.read_text()
    assert "layer1" in text
    indented = {"latex": "~~0", "markdown": "&nbsp;&nbsp;0", "table": "  0"}
    assert indented.get(format, "") in text
    if format in ("latex", "markdown"):
        assert "\N{NO-BREAK SPACE}" not in text


def test_it_shows_in_a_notebook() -> None:
    html = swatcost.summary(network_called("ViT-like"), weights=0.5)._repr_html_()
    table = html.partition("<details>")[0]
    assert "blocks" in table  # not folded away
    assert "216" in table
    assert html.count("<table>") == 2  # the summary and the tree


def test_nothing_sparse_shows_nothing_sparse(capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, "cifar_resnet18")
    assert "sparse" not in found.split("\n\n")[1]
    assert "reduction" not in found


def test_operations_without_a_formula_are_named_in_every_summary(capsys: pytest.CaptureFixture[str]) -> None:
    class Spectral(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return torch.linalg.lu_factor(self.linear(x))[0]

    assert "TOO LOW: these operations may multiply tensors" in repr(swatcost.summary(Spectral(), input_shape=(4, 4)))


def test_a_network_prints_as_a_table_that_is_cut() -> None:
    for name in ("cifar_vgg16", "densenet121"):
        network = zoo_network(name)
        lines = repr(network).splitlines()
        assert max(map(len, lines)) <= 80
        assert len(lines) < 80
        assert lines[0].startswith(f"{name}, input 3×")
    # 121 weights and as many normalisations, of which 50 first and 10 last are shown
    assert "… 182 more, in to_frame()" in repr(zoo_network("densenet121"))
    assert len(zoo_network("densenet121").to_frame()) == 242
    assert repr(zoo_network("cifar_vgg16")).splitlines()[0].endswith("33.647 M parameters, 332.112 MMAC forward")


def test_a_networks_other_parameters_are_in_its_table() -> None:
    lines = repr(network_called("LM-like")).splitlines()
    values = {line.split()[0]: line.split()[-1] for line in lines if line}
    assert values["(other)"] == "180"  # positions 9 · 12, and in each of two blocks the bias of the projection in, 36
