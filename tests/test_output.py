"""What a report shows first, its forms, and where a command's output goes."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import stat
from pathlib import Path

import pandas
import pytest

import swatcost
from swatcost.cli import main
from swatcost.cli.output import colourful
from swatcost.network import Network
from swatcost.report import FORMATS, render


def run(*args: str) -> int:
    return main(list(args))


def test_the_headline(saved: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(saved, "--weights", "0.8", "--acts", "0.8", "--period", "1000") == 0
    out, err = capsys.readouterr()
    assert err == ""
    flat = " ".join(out.split())
    assert "training FLOPs −76.12 % (−78.45 % under exact); inference −77.69 %" in flat
    assert "weights 5.0× fewer 25.503 M → 5.108 M; activations −39.17 %" in flat
    assert "attainable speedup 0.97× no faster; no sparse kernel known (`calibrate`) training FLOPs" in flat
    assert "ideal speedup 4.13× 4.19× without Top-K; break-even period 5" in flat
    assert "kept dense conv1 (first layer); inputs of batch normalisation" in flat
    assert "step with its share of Top-K, batch 32 147.0 ms 152.2 ms 35.6 ms" in flat
    assert max(map(len, out.splitlines())) <= 80
    assert len(out.splitlines()) <= 30


def test_notes_are_folded_to_those_that_may_change_a_decision(saved: str, capsys: pytest.CaptureFixture[str]) -> None:
    sparse = [saved, "--weights", "0.8", "--acts", "0.8"]
    assert run(*sparse) == 0
    shown = capsys.readouterr().out
    assert run(*sparse, "--notes") == 0
    everything = capsys.readouterr().out
    assert run(*sparse, "--format", "json") == 0
    assumptions = json.loads(capsys.readouterr().out)["assumptions"]
    flat, whole = (" ".join(text.split()) for text in (shown, everything))
    assert [each for each in assumptions if each in flat] == [
        each for each in assumptions if "Masking in PyTorch" in each
    ]
    assert all(each in whole for each in assumptions)
    assert "batch_norm ×53" not in flat
    assert "batch_norm ×53" in whole  # which is a field of its own in the JSON
    assert f"({len(assumptions)} more notes on what was counted and assumed: --notes)" in flat
    assert "--notes" not in whole


def test_quiet_prints_the_summary_alone(saved: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(saved, "--weights", "0.8", "--acts", "0.8") == 0
    question, summary, *_ = capsys.readouterr().out.split("\n\n")
    assert run(saved, "--weights", "0.8", "--acts", "0.8", "--quiet") == 0
    assert capsys.readouterr().out == f"{question}\n\n{summary}\n"
    assert run(saved, "--quiet", "--notes") == 2


def test_only_a_terminal_gets_colours_and_only_if_it_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert colourful(None)
    assert not colourful(Path("a file"))
    monkeypatch.setenv("NO_COLOR", "1")
    assert not colourful(None)


def test_colours_change_no_word(resnet50: Network) -> None:
    estimate = swatcost.estimate(resnet50, weights=0.8, acts=0.8)
    for options in ({}, {"notes": True}, {"layers": True, "width": 140}, {"width": 40}):
        coloured = render(estimate, colour=True, **options)
        assert re.sub("\x1b\\[[0-9;]*m", "", coloured) == render(estimate, **options)
        assert "\x1b[1;32m4.13×" in coloured


def test_a_wide_terminal_is_used(resnet50: Network) -> None:
    estimate = swatcost.estimate(resnet50, weights=0.8, acts=0.8)
    longest = max(map(len, render(estimate, notes=True, width=140).splitlines()))
    assert 120 < longest <= 140


@pytest.mark.parametrize("width", [80, 110, 240])
def test_printed_layer_columns_add_up_to_the_printed_totals(resnet50: Network, width: int) -> None:
    text = render(swatcost.estimate(resnet50, weights=0.8, acts=0.7), "table", layers=True, width=width)
    table = text.split("\n\n")[2].splitlines()
    rules = [number for number, line in enumerate(table) if set(line) == {"-", " "}]
    columns = [match.span() for match in re.finditer("-+", table[rules[0]])]
    # Only the last column may be wider than its rule is short; each cell lies under its own rule.
    cells = [[line[start:end].strip() for start, end in columns] for line in table[rules[0] + 1 : rules[1]]]
    total = [table[rules[1] + 1][start:end].strip() for start, end in columns]
    names = ["".join(line[start:end].strip() for line in table[: rules[0]]) for start, end in columns]
    checked = 0
    for column, name in enumerate(names):
        if name == "params" or "MAC]" in name:
            numbers = [float(row[column].replace(",", "")) for row in cells]
            decimals = len(total[column].partition(".")[2])
            slack = len(numbers) * 0.5 * 10**-decimals if decimals else 0
            assert sum(numbers) == pytest.approx(float(total[column].replace(",", "")), abs=slack), name
            checked += 1
    assert checked == {80: 2, 110: 3, 240: 9}[width]
    assert max(map(len, table)) <= width


def test_csv_of_layers_adds_up(saved: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(saved, "--weights", "0.8", "--layers", "--format", "csv") == 0
    frame = pandas.read_csv(io.StringIO(capsys.readouterr().out))
    assert frame["params"].sum() == 25_557_032
    assert frame["training_dense_macs"].sum() == 14_586_888_192
    assert len(frame) == 54 + 1


def test_csv_of_totals(saved: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(saved, "--weights", "0.8", "--acts", "0.8", "--format", "csv") == 0
    rows = {row["quantity"]: row for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    assert float(rows["training"]["reduction"]) == pytest.approx(0.7612, abs=5e-5)
    assert float(rows["speedup"]["value"]) == pytest.approx(4.13, abs=5e-3)


@pytest.mark.parametrize("layers", [False, True])
@pytest.mark.parametrize("format", FORMATS)
def test_every_format_renders_and_ends_in_one_newline(resnet50: Network, format: str, layers: bool) -> None:
    text = render(swatcost.estimate(resnet50, weights=0.8, acts=0.8), format, layers=layers)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


def test_markdown_and_latex_are_well_formed(resnet50: Network) -> None:
    estimate = swatcost.estimate(resnet50, weights=0.8, acts=0.8)
    markdown = render(estimate, "markdown")
    for block in markdown.split("\n\n")[2:5]:
        assert len({line.count("|") for line in block.splitlines()}) == 1
    assert render(estimate, "latex", layers=True).count("layer1.0.conv2") == 1
    latex = render(estimate, "latex")
    body = "\n".join(line for line in latex.splitlines() if not line.startswith("%"))
    assert body.isascii()
    assert body.count(r"\begin{tabular}") == body.count(r"\end{tabular}") == 3
    assert not re.search(r"(?<!\\)[%_#]", body)


def test_html_for_notebooks(resnet50: Network) -> None:
    html = swatcost.estimate(resnet50, weights=0.8, acts=0.8)._repr_html_()
    assert html.count("<table") == html.count("</table>") == 5
    assert "76.12 %" in html


def test_output_to_a_file(saved: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "estimate.json"
    assert run(saved, "--format", "json", "--output", str(target)) == 0
    assert capsys.readouterr() == ("", "")
    assert json.loads(target.read_text())["model"] == "resnet50"
    assert os.listdir(tmp_path) == ["estimate.json"]
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize(
    ("ending", "start"), [(".json", "{"), (".csv", "quantity,"), (".CSV", "quantity,"), (".md", "**"), (".tex", "%")]
)
def test_the_ending_of_the_output_chooses_the_format(saved: str, tmp_path: Path, ending: str, start: str) -> None:
    target = tmp_path / f"out{ending}"
    assert run(saved, "--output", str(target)) == 0
    assert target.read_text().startswith(start)
    assert run(saved, "--output", str(target), "--format", "table") == 0
    assert target.read_text().startswith("resnet50 (3×224×224)")


def test_an_output_that_cannot_be_written_leaves_nothing(
    saved: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for target in (tmp_path / "missing" / "out.json", tmp_path):
        assert run(saved, "--format", "json", "--output", str(target)) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert f"cannot write {target}" in err
    assert os.listdir(tmp_path) == []


def test_a_failed_write_keeps_the_old_file(saved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out.txt"
    target.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert run(saved, "--output", str(target)) == 2
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["out.txt"]


def test_an_output_link_is_followed(saved: str, tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    assert run(saved, "--output", str(tmp_path / "link.txt")) == 0
    assert (tmp_path / "link.txt").is_symlink()
    assert "training" in (tmp_path / "real.txt").read_text()


@pytest.mark.parametrize("output", ["missing/x.json", "x.svg", "."])
def test_nothing_is_drawn_for_an_output_that_is_refused(
    output: str, saved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(saved, "--weights", "0.8", "--plot", "p.svg", "--output", output) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words", [["plan", "resnet50", "--weights", "0.8"], ["tables", "11"], ["two-four", "cifar_resnet18"]]
)
def test_latex_is_ascii(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words, "--format", "latex") == 0
    text = "\n".join(line for line in capsys.readouterr().out.splitlines() if not line.startswith("%"))
    assert r"\begin{tabular}" in text
    assert text.isascii()


def test_what_was_asked_is_not_called_dense_where_every_layer_stays_dense(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("cifar_resnet18", "--weights", "0.8", "--keep-dense", "*", "--quiet") == 0
    question = " ".join(capsys.readouterr().out.split())
    assert "swat, every layer kept dense: conv1 (first layer) and 20 more layers" in question
