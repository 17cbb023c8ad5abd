"""Names from outside in what other programs read: spreadsheets, terminals, JSON, Markdown, HTML."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

import swatcost
from swatcost.cli import main
from swatcost.report import render
from swatcost.simulation.simulation import simulate
from swatcost.simulation.study import study

FORMULAS = ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "＝1+1"]
STEERING = ["a\x1b[2Jb", "a\x9b2Jb", "a\u202eb", "a\u2066b", "a\x07b", "a\u200fb", "a\x85b", "a\u2028b", "a\udc80b"]


def network_named(name: str) -> swatcost.Network:
    """A network, a layer, a weight and a parameter of this name."""
    module = nn.Module()
    module.add_module(name, nn.Linear(4, 4))
    module.forward = lambda x: next(module.children())(x)  # type: ignore[method-assign]
    return swatcost.trace(module, input_shape=(4,), name=name)


def cells(text: str) -> list[str]:
    return [cell for row in csv.reader(io.StringIO(text)) for cell in row]


def is_formula(cell: str) -> bool:
    """What a spreadsheet would compute: it begins as a formula and is no number."""
    try:
        float(cell)
    except ValueError:
        return cell.startswith(("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠"))
    return False


@pytest.mark.parametrize("name", FORMULAS)
def test_no_cell_of_a_csv_file_is_a_formula(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = network_named(name)
    network.save(tmp_path / "network.json")
    saved = str(tmp_path / "network.json")
    layers = render(swatcost.estimate(network, weights=0.5, first_layer="sparse"), "csv", layers=True)
    written = [layers, render(network, "csv"), render(swatcost.summary(network), "csv")]
    for command in (["sweep", saved, "--weights", "0.5"], ["compare", saved, "--weights", "0.5"]):
        assert main([*command, "--format", "csv"]) == 0
        written.append(capsys.readouterr().out)
    assert main(["export", saved, "--to", "csv"]) == 0
    written.append(capsys.readouterr().out)
    assert main(["export", saved, "--to", "scalesim", "--output", str(tmp_path / "sim")]) == 0
    written += [each.read_text() for each in (tmp_path / "sim").glob("*.csv")]
    for text in written:
        assert not [each for each in cells(text) if is_formula(each)]
    assert f"'{name}" in cells(layers)

    # and a table that this program wrote is a table that it reads
    (tmp_path / "table.csv").write_text("layer,weights\n" + f"'{name},0.25\n")
    found = swatcost.estimate(network, distribution="file", source=str(tmp_path / "table.csv"))
    assert found.weight_sparsity == pytest.approx(0.25)


def test_numbers_stay_numbers() -> None:
    rows = list(csv.DictReader(io.StringIO(render(swatcost.estimate("resnet18", weights=0.5), "csv", layers=True))))
    assert all(float(row["weight_sparsity"]) >= 0 for row in rows)


@pytest.mark.parametrize("name", STEERING, ids=ascii)
@pytest.mark.parametrize("format", ["table", "json", "csv", "markdown", "latex"])
def test_no_name_steers_a_terminal(name: str, format: str) -> None:
    estimate = swatcost.estimate(network_named(name), weights=0.5, first_layer="sparse")
    for text in (render(estimate, format, layers=True, notes=True), render(estimate.network, format)):
        assert all(each.isprintable() or each in "\n\xa0\u202f" for each in text)
    renamed = replace(estimate.network.layers[0], name=f"x{name}") if format == "table" else None
    if renamed is not None:  # one that did not come from a trace
        made = replace(estimate.network, layers=(renamed,))
        assert all(each.isprintable() or each == "\n" for each in render(made, "table", layers=True))


@pytest.mark.parametrize("name", STEERING, ids=ascii)
def test_no_name_of_a_file_steers_a_terminal(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    of_resnet18 = (["--device", f"{name}.toml"], ["--method", name], ["--output", f"{name}/x.csv"])
    for words in ([f"{name}.json"], [name], [f"--{name}"], *(["resnet18", *each] for each in of_resnet18)):
        assert main(words) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert err.rstrip("\n").isprintable()


@pytest.mark.parametrize("name", [each for each in STEERING if "\udc80" not in each], ids=ascii)
def test_a_trace_with_such_names_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = network_named("odd").to_json().replace('"odd.weight"', json.dumps(name))
    (tmp_path / "trace.json").write_text(text)
    assert main([str(tmp_path / "trace.json")]) == 2
    err = capsys.readouterr().err
    assert "trace.json is not a usable trace or config: Expected `str` matching" in err
    assert err.rstrip("\n").isprintable()


def test_html_and_links_in_a_name_are_text() -> None:
    name = "<img src=x onerror=alert(1)>[a](javascript:1)|_"
    network = network_named(name)
    estimate = swatcost.estimate(network, weights=0.5, first_layer="sparse")
    markdown = render(estimate, "markdown", layers=True, notes=True)
    assert "<img" not in markdown
    assert "][" not in markdown.replace("\\[", "")
    assert "[a](" not in markdown.replace("\\[", "")
    assert "<img" not in swatcost.estimate(network)._repr_html_()


def strict(text: str) -> object:
    def refuse(constant: str) -> float:
        raise AssertionError(constant)

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("format", ["table", "json", "csv", "markdown", "latex"])
@pytest.mark.parametrize(
    "settings",
    [{"weights": 1 - 2**-53, "acts": 1 - 2**-53}, {"weights": 0.0, "acts": 0.0}, {"method": "dense"},
     {"weights": 0.5, "period": 1}, {"weights": 0.5, "batch_size": 10**9}],
)  # fmt: skip
def test_no_number_of_the_output_is_infinite(settings: dict[str, object], format: str) -> None:
    text = render(swatcost.estimate("resnet18", **settings), format, layers=True, notes=True)  # type: ignore[arg-type]
    if format == "json":
        strict(text)
    words = text.lower().replace("inf.", "").replace(",", " ").replace("|", " ").replace("&", " ").split()
    assert not {"inf", "nan", "-inf", "inf×", "∞", "nan×", "nan%"} & set(words)
    assert math.isfinite(len(words))


def test_a_simulation_whose_sample_is_all_zeros_is_finite() -> None:
    # grad_weight of a linear layer reads 32 samples, 2 lines of 16, both zero here and within reach: they are free
    network = swatcost.trace(nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16)), input_shape=(16,))
    found = simulate(network, acts=1 - 1e-6, first_layer="sparse")
    assert math.isfinite(found.training.utilisation)
    strict(render(found, "json"))


def test_a_study_is_strict_json(tmp_path: Path) -> None:
    network_named("a").save(tmp_path / "a.json")
    study([str(tmp_path / "a.json")], weights=[0.5], jobs=1, record=tmp_path / "r.jsonl")
    for line in (tmp_path / "r.jsonl").read_text().splitlines():
        strict(line)
