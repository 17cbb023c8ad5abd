"""The command line: what it prints, and one line with exit code 2 for what it cannot use."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pandas
import pytest

import swatcost
from swatcost.cli import COMMANDS, command_named, main
from swatcost.cli.output import colourful
from swatcost.network import Network
from swatcost.report import FORMATS, render


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A saved ResNet-50, so that commands need not trace it."""
    path = tmp_path_factory.mktemp("traces") / "resnet50.json"
    swatcost.load("resnet50").save(path)
    return str(path)


def run(*args: str) -> int:
    return main(list(args))


@pytest.mark.parametrize(
    ("args", "message"),
    [(["trace"], "characters of JSON: give --output FILE"), (["export", "--to", "zigzag"], "give --output FILE")],
)
def test_large_files_are_not_printed_on_a_terminal(
    args: list[str], message: str, saved: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert run(args[0], saved, *args[1:]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err


def test_the_headline(saved: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(saved, "--weights", "0.8", "--acts", "0.8", "--period", "1000") == 0
    out, err = capsys.readouterr()
    assert err == ""
    flat = " ".join(out.split())
    assert "training FLOPs −76.12 % (−78.45 % under exact); inference −77.69 %" in flat
    assert "weights 5.0× fewer 25.503 M → 5.108 M; activation elements −39.17 %" in flat
    assert "ideal speedup 4.13× (4.19× without Top-K); not on dense hardware" in flat
    assert "kept dense conv1 (first layer)" in flat
    assert "break-even period 5 iterations" in flat
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
        each for each in assumptions if "with masked tensors" in each
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


def test_options_may_come_first(saved: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--weights", "0.8", "--format", "json", saved) == 0
    assert json.loads(capsys.readouterr().out)["targets"] == {"weights": 0.8, "acts": None, "grads": None}


def test_options_for_dense_layers(saved: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = [
        "--first-layer",
        "sparse",
        "--last-layer",
        "dense",
        "--keep-dense",
        "*.downsample.*",
    ]
    assert run(saved, "--weights", "0.8", *options, "--format", "json") == 0
    kept = {layer["name"]: layer["kept_dense"] for layer in json.loads(capsys.readouterr().out)["layers"]}
    assert (kept["conv1"], kept["fc"]) == (None, "last layer")
    assert kept["layer1.0.downsample.0"] == "named by *.downsample.*"
    assert run(saved, *options, "--keep-dense", "bn1") == 2
    assert "keep_dense 'bn1' matches no layer" in capsys.readouterr().err


def test_json_keeps_the_contract(saved: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(saved, "--weights", "0.8", "--acts", "0.8", "--format", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert {
        "schema", "model", "input_shape", "batch_size", "method", "distribution", "convention", "device", "topk_period",
        "totals", "memory", "layers", "uncounted", "assumptions",
    } <= set(found)  # fmt: skip
    assert (found["model"], found["input_shape"], found["batch_size"]) == ("resnet50", [3, 224, 224], 32)
    totals = found["totals"]
    assert totals["params"] == 25_557_032
    assert set(totals["macs"]) == {"forward", "grad_input", "grad_weight", "recompute", "training", "inference"}
    for name in ("forward", "grad_input", "grad_weight"):
        assert sum(layer["macs"][name]["dense"] for layer in found["layers"]) == totals["macs"][name]["dense"]
        summed = sum(layer["macs"][name]["sparse"] for layer in found["layers"])
        assert summed == pytest.approx(totals["macs"][name]["sparse"])
    assert totals["training_reduction"] == pytest.approx(0.7612, abs=5e-5)
    assert totals["speedup"] == pytest.approx(4.13, abs=5e-3)
    assert set(totals) >= {
        "params", "weights", "weight_sparsity", "act_sparsity", "macs", "training_reduction", "inference_reduction",
        "activation_reduction", "model_compression", "dense_step_seconds", "topk_seconds", "speedup", "speedup_limit",
        "break_even_period",
    }  # fmt: skip
    assert set(found["memory"]) == {
        "parameters", "gradients", "backward_weights", "saved_activations", "masked_activations",
    }  # fmt: skip
    assert found["layers"][0]["kept_dense"] == "first layer"
    assert found == json.loads(json.dumps(swatcost.estimate(saved, weights=0.8, acts=0.8).to_dict()))


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


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["resnet5"], "unknown model 'resnet5': did you mean resnet50 or"),
        (["resnet50", "--weights", "1.0"], "weights 1.0 is not a sparsity"),
        (["resnet50", "--weights", "-0.1"], "weights -0.1 is not a sparsity"),
        (["resnet50", "--acts", "eighty"], "'eighty' is not a number: give the fraction of zeros, such as 0.8"),
        (["resnet50", "--acts", "nan"], "acts nan is not a sparsity"),
        (["resnet50", "--weights", "80"], "for 80 % write 0.8"),
        (["resnet50", "--period", "0"], "period 0: give a whole number"),
        (["resnet50", "--period", "often"], "'often' is not a valid integer"),
        (["resnet50", "--batch-size", "0"], "batch_size 0: give a whole number"),
        (
            ["resnet50", "--input-shape", "3,4"],
            "resnet50 does not accept a batch of 11 samples of 3×4, which it is traced with: conv1 (Conv2d)",
        ),
        (["resnet50", "--input-shape", "5,64,64"], "conv1 (Conv2d) was given 11×5×64×64: "),
        (["cifar_vgg16", "--input-shape", "3,8,8"], "features.33 (MaxPool2d) was given 11×512×1×1: "),
        (["resnet50", "--input-shape", "3,x,4"], "'3,x,4' is not a shape: give whole numbers with commas"),
        (["resnet50", "--input-shape", "3,0,4"], "positive whole numbers"),
        (["resnet50", "--classes", "0"], "classes 0: give a positive whole number"),
        (["resnet50", "--classes", str(2**63 - 1)], "give a positive whole number"),
        (["resnet50", "--input-shape", "3,9999999999,99999999999"], "too large for a tensor"),
        (["resnet50", "--batch-size", "9" * 400], "batch_size 999"),
        (["resnet50", "--convention", "paper"], "unknown convention 'paper': choose from swat, equations, exact"),
        (["resnet50", "--wieghts", "0.8"], "No such option"),
        (["list", "methods", "--wieghts", "1"], "No such option"),
        (["resnet50", "--sparsity", "0.8"], "No such option '--sparsity'. Did you mean --weights or --acts?"),
        (["compare", "resnet50", "--dtype", "int64"], "Did you mean --input-dtype?"),
        (["resnet50", "--format", "xml"], "'xml' is not one of"),
        (["resnet50", "resnet18"], "unexpected extra argument"),
        (["no/such.json"], "cannot read no/such.json: No such file or directory"),
        (["list", "modles"], "'modles' is not one of"),
        (["list"], "Missing argument"),
        (["trace", "resnet5"], "unknown model 'resnet5'"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_2(
    args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert message in err
    assert err.startswith("swatcost: ")


def test_a_saved_trace_has_a_fixed_shape(saved: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(saved, "--input-shape", "3,64,64") == 2
    assert "leave out input_shape, input_dtype and classes" in capsys.readouterr().err


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


def test_trace_writes_what_can_be_named_as_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "small.json"
    assert run("trace", "cifar_resnet18", "--classes", "7", "--output", str(path)) == 0
    assert run(str(path), "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["layers"][-1]["weight_shape"] == [7, 512]


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("models", "cifar_wrn_28_10"),
        ("methods", "swat"),
        ("distributions", "uniform"),
        ("conventions", "equations"),
        ("devices", "rtx2080ti"),
    ],
)
def test_lists(what: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", what) == 0
    out = capsys.readouterr().out
    assert re.search(rf"^{name}\b", out, re.MULTILINE)
    assert max(map(len, out.splitlines())) <= 80


def test_methods_in_full_on_a_wide_screen(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run("list", "methods") == 0
    out = capsys.readouterr().out
    for words in ("fixed or variable", "unstructured", "changes over the run", "*downsample*"):
        assert words in out
    assert max(map(len, out.splitlines())) <= 200


@pytest.mark.parametrize("args", [["--help"], ["-h"], [], ["trace", "--help"], ["estimate", "--help"]])
def test_help(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*args) == 0
    out = capsys.readouterr().out
    assert out.startswith("Usage: swatcost ")
    if "trace" not in args:
        assert "swatcost resnet50 --weights 0.8 --acts 0.8 --period 1000" in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"swatcost {swatcost.__version__}\n"


def python(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=False)


def test_a_closed_pipe_is_not_an_error(saved: str) -> None:
    script = f"{sys.executable} -m swatcost {saved} --format json | head -c 10"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_named(saved: str) -> None:
    for arguments in (f"{saved} > /dev/full", "list models > /dev/full", f"{saved} --output /dev/full"):
        done = subprocess.run(
            ["sh", "-c", f"{sys.executable} -m swatcost {arguments}"], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert "No space left on device" in done.stderr


def test_closed_standard_output_does_not_matter_to_a_file(saved: str, tmp_path: Path) -> None:
    script = f"{sys.executable} -m swatcost {saved} --output {tmp_path}/out.txt >&-"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out.txt").read_text().startswith("resnet50")


def test_a_terminal_without_unicode_shows_something(saved: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run([sys.executable, "-m", "swatcost", saved], capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_appending_through_dev_stdout_keeps_what_was_there(saved: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    script = f"{sys.executable} -m swatcost {saved} --output /dev/stdout >> {log}"
    subprocess.run(["sh", "-c", script], check=True)
    assert log.read_text().startswith("before\nresnet50")


HEAVY = {"torch", "pandas", "numpy", "matplotlib", "fvcore"}


@pytest.mark.parametrize(
    "code",
    [
        "import swatcost",
        "from swatcost.cli import main; main([sys.argv[1], '--weights', '0.8', '--format', 'json'])",
        "from swatcost.cli import main; main([sys.argv[1], '--layers'])",
        "from swatcost.cli import main; main(['--help']); main(['list', 'models']); main(['list', 'devices'])",
        "from swatcost.cli import main; main(['resnet50', '--weights', '0.8', '--acts', '0.8', '--period', '1000'])",
        "from swatcost.cli import main; main(['compare', 'vit_b_16', '--weights', '0.8'])",
    ],
)
def test_what_needs_no_torch_does_not_import_it(saved: str, code: str) -> None:
    check = f"import sys; {code}; print({HEAVY!r} & set(sys.modules), file=sys.stderr)"
    done: Any = python(check, saved)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "set()\n"


def single_valued() -> list[tuple[str, str]]:
    """An option that takes one value, of each command that has one."""
    found = []
    for name in COMMANDS:
        options = [each for each in command_named(name).params if isinstance(each, click.Option) and not each.hidden]
        found += [(name, each.opts[-1]) for each in options if not (each.is_flag or each.multiple or each.count)][:1]
    return found


@pytest.mark.parametrize(("command", "option"), single_valued())
def test_an_option_that_takes_one_value_is_given_once(
    command: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, option, "3", "x", f"{option}=5"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"swatcost: {option} is given as 3 and as 5: give it once")


def test_what_is_repeatable_stays_so(capsys: pytest.CaptureFixture[str]) -> None:
    repeated = ["--keep-dense", "fc", "--keep-dense", "conv1", "--layers", "--layers"]
    assert main(["cifar_resnet18", "--weights", "0.8", *repeated]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "kept dense conv1 (first layer) and 1 more layer" in out
    assert main(["sweep", "cifar_resnet18", "--method", "rigl", "--method", "swat"]) == 2
    assert "give it once, with commas between the values" in capsys.readouterr().err


@pytest.mark.parametrize("output", ["missing/x.json", "x.svg", "."])
def test_nothing_is_drawn_for_an_output_that_is_refused(
    output: str, saved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(saved, "--weights", "0.8", "--plot", "p.svg", "--output", output) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words", [["plan", "resnet50", "--weights", "0.8"], ["tables", "11"], ["two-four", "resnet50"]]
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
