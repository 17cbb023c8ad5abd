"""The command line: what it prints, and one line with exit code 2 for what it cannot use."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

import swatcost
from swatcost.cli import COMMANDS, command_named, main


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
        (["resnet50", "--classes", "0"], "classes 0: give a whole number from 1 to 10^12"),
        (["resnet50", "--classes", str(2**63 - 1)], "give a whole number from 1 to 10^12"),
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
    assert "is a saved trace: leave out input_shape, which it fixes\n" in capsys.readouterr().err
    assert run(saved, "--classes", "3", "--input-dtype", "int64") == 2
    assert "is a saved trace: leave out input_dtype and classes, which it fixes\n" in capsys.readouterr().err


def test_trace_writes_what_can_be_named_as_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "small.json"
    assert run("trace", "cifar_resnet18", "--classes", "7", "--output", str(path)) == 0
    assert run(str(path), "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["layers"][-1]["weight_shape"] == [7, 512]


def test_a_saved_trace_is_of_one_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What it was traced under is said by what asks for something else, and the remedy is one that `trace` takes."""
    path = tmp_path / "small.json"

    def traced(*options: str) -> None:
        assert run("trace", "cifar_resnet18", *options, "--output", str(path)) == 0

    def refused(*options: str) -> str:
        assert run("memory", str(path), *options) == 2
        return capsys.readouterr().err

    traced("--precision", "amp-cpu", "--checkpoint", "layer1.*")
    assert "cifar_resnet18 was traced in amp-cpu: leave autocast out when it is traced" in refused(
        "--precision", "fp32"
    )
    assert "cifar_resnet18 was traced in amp-cpu: give autocast 'amp' when" in refused("--precision", "amp")
    assert "checkpoint 'fc': cifar_resnet18 was traced with 'layer1.*'; give" in refused("--checkpoint", "fc")
    assert "offload True: cifar_resnet18 was traced without; give offload when it is traced" in refused("--offload")
    traced("--offload")
    assert "checkpoint 'fc, bn1': cifar_resnet18 was traced without" in refused(
        "--checkpoint", "fc", "--checkpoint", "bn1"
    )
    assert run("memory", str(path), "--quiet") == run("memory", str(path), "--offload", "--quiet") == 0
    assert capsys.readouterr().out.count("on the host meanwhile") == 2


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


def test_an_empty_name_of_a_table_is_not_all_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("tables", "") == 2
    assert capsys.readouterr().err.startswith("swatcost: unknown table ''")
