"""What people expect of a command line: amounts as they write them, defaults of their own, completion, quiet pipes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from swatcost.cli import main
from swatcost.cli.parameter_types import COUNTS, FRACTIONS, NAMES, CountType, FractionType
from swatcost.cli.progress import LongWork


def converted(kind: click.ParamType, value: object) -> object:
    return kind.convert(value, None, None)


def test_amounts_as_people_write_them_reach_the_library(capsys: pytest.CaptureFixture[str]) -> None:
    people = [
        "resnet50",
        "--weights",
        "80%",
        "--acts",
        "70 %",
        "--period",
        "1k",
        "--batch-size",
        "1_0",
        "--steps",
        "2k",
    ]
    plain = ["resnet50", "--weights", "0.8", "--acts", "0.7", "--period", "1000", "--batch-size", "10"]
    plain += ["--steps", "2000"]
    outputs = []
    for arguments in (people, plain):
        assert main([*arguments, "--default-act-sparsity", "50%", "--format", "json"]) == 0
        outputs.append(json.loads(capsys.readouterr().out))
    assert outputs[0] == outputs[1]
    assert outputs[0]["targets"] == {"weights": 0.8, "acts": 0.7, "grads": None}
    assert (outputs[0]["topk_period"], outputs[0]["batch_size"]) == (1000, 10)
    assert outputs[0]["default_act_sparsity"] == 0.5


def test_several_values_in_one_option() -> None:
    assert converted(FRACTIONS, "50%:80%:10%,0.9") == [0.5, 0.6, 0.7, 0.8, 0.9]
    assert converted(COUNTS, "1,10,1k") == [1, 10, 1000]
    assert converted(NAMES, "swat,rigl") == ["swat", "rigl"]
    # from a file of defaults, and click converts what it has converted before
    assert converted(FRACTIONS, [0.5, 0.8]) == [0.5, 0.8]
    assert converted(COUNTS, [1, 10]) == [1, 10]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (CountType(), 64.5), (CountType(), True), (CountType(), "1.5"), (CountType(), "9" * 5000),
        (FractionType(), True), (FractionType(), "80%%"),
        (FractionType(), "1_0"), (FractionType(), "0_.5"), (FractionType(), "０.５"), (FractionType(), "٠.٥"),
        (FRACTIONS, "0.5,０.９"), (CountType(), "１０"),
        (FRACTIONS, "0.9:0.5:0.1"), (FRACTIONS, [True]), (COUNTS, "1,x"),
    ],
)  # fmt: skip
def test_what_is_not_an_amount_is_refused(kind: click.ParamType, value: object) -> None:
    with pytest.raises(click.BadParameter):
        converted(kind, value)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of defaults where the user's own is looked for."""
    monkeypatch.delenv("SWATCOST_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = tmp_path / "swatcost" / "config.toml"
    path.parent.mkdir()
    path.write_text('device = "a100"\nbatch-size = "1k"\n[simulate]\nseed = 3\n[estimate]\nperiod = 7\n')
    return path


def estimated(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[dict[str, object], list[str]]:
    """What an estimate says of its settings, and the lines on standard error."""
    assert main([*arguments, "--weights", "0.8", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    keys = ("device", "batch_size", "topk_period", "convention")
    return {key: json.loads(out)[key] for key in keys}, err.splitlines()


BUILT_IN = {"device": "rtx2080ti", "batch_size": 32, "topk_period": 1000, "convention": "swat"}


def test_the_command_line_comes_before_the_environment_before_the_file(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    of_file = {"device": "a100", "batch_size": 1000, "topk_period": 7, "convention": "swat"}
    lines = [f"swatcost: {each} from {config}" for each in ("period = 7", "device = a100", "batch-size = 1k")]
    found, said = estimated(capsys, "resnet50")
    assert (found, sorted(said)) == (of_file, sorted(lines))

    monkeypatch.setenv("SWATCOST_DEVICE", "h100")
    monkeypatch.setenv("SWATCOST_CONVENTION", "exact")
    monkeypatch.setenv("SWATCOST_ESTIMATE_CONVENTION", "rigl")
    found, said = estimated(capsys, "resnet50")
    assert found == of_file | {"device": "h100", "convention": "rigl"}
    assert {"swatcost: device = h100 from SWATCOST_DEVICE", lines[0], lines[2]} < set(said)
    assert "swatcost: convention = rigl from SWATCOST_ESTIMATE_CONVENTION" in said

    given = ("--device", "v100", "--batch-size", "2", "--period", "3", "--convention", "equations")
    found, said = estimated(capsys, "resnet50", *given)
    assert found == {"device": "v100", "batch_size": 2, "topk_period": 3, "convention": "equations"}
    assert said == []


@pytest.mark.parametrize("words", [("--no-config", "resnet50"), ("resnet50", "--no-config"), ("estimate", "resnet50")])
def test_no_config(
    words: tuple[str, ...], config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWATCOST_PERIOD", "5")
    if "--no-config" not in words:
        assert estimated(capsys, *words)[0] != BUILT_IN
        words = ("--no-config", *words)
    config.write_text(config.read_text() + "[damaged")  # not even read
    assert estimated(capsys, *words) == (BUILT_IN, [])


def test_a_default_that_changes_nothing_is_not_spoken_of(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text('device = "rtx2080ti"\nbatch-size = 32\nseed = 5\n[estimate]\nlayers = false\n')
    assert estimated(capsys, "resnet50") == (BUILT_IN, [])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("device =", "is not valid TOML: Invalid value (at"),
        ('devcie = "a100"', "devcie is not an option with a default: did you mean device?"),
        ("[simulat]\nseed = 1", "[simulat] is not a command with defaults: did you mean simulate"),
        ("[simulate]\nsede = 1", "sede in [simulate] is not an option with a default: did you mean seed?"),
        ("device = [1, 2]", "device: give one value, not a list"),
        ("weights = 0.8", "weights is not an option with a default"),
        ('format = "json"', "format is not an option with a default"),
        ("batch-size = 1.5", "1.5 is not a valid integer: give one such as 1000 or 1k. (with batch-size = 1.5 from"),
        ('device = "abacus"', "unknown device 'abacus'"),
        ("one-sample = 1", "one-sample = 1: give true or false"),
        ("[estimate]\nhide-topk = 0.5", "hide-topk in [estimate] = 0.5: give true or false"),
        ('one-sample = "perhaps"', "'perhaps' is not a valid boolean"),
        (f"device = {'[' * 5000}{']' * 5000}", "is nested too deeply; correct it, or give --no-config"),
    ],
)
def test_a_damaged_file_of_defaults_is_named(
    content: str, message: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(content)
    assert main(["resnet50"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
    assert str(config) in err
    assert main(["--help"]) == main(["resnet50", "--help"]) == 0


def test_a_file_that_was_named_must_be_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWATCOST_CONFIG", str(tmp_path / "none.toml"))
    assert main(["resnet50"]) == 2
    assert f"cannot read {tmp_path}/none.toml: No such file" in capsys.readouterr().err


def test_a_resumed_run_takes_no_defaults(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text("seed = 5\nperiod = 1\n")
    record = str(tmp_path / "run.jsonl")
    words = [
        "run",
        "cifar_resnet18",
        "--input-shape",
        "3,8,8",
        "--steps",
        "1",
        "--data",
        "synthetic",
        "--weights",
        "0.5",
    ]
    assert main([*words, "--batch-size", "2", "--output", record]) == 0
    assert f"swatcost: seed = 5 from {config}" in capsys.readouterr().err
    assert '"seed":5' in Path(record).read_text().splitlines()[0].replace(" ", "")
    assert main(["run", "--resume", record]) == 2
    assert capsys.readouterr().err.endswith("is complete: all 1 steps are done\n")


def on_a_terminal(*arguments: str, environment: dict[str, str] | None = None) -> str:
    """What the program writes to standard error where that is a terminal; standard output goes nowhere."""
    master, slave = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "swatcost", *arguments],
        stdout=subprocess.DEVNULL, stderr=slave, env=os.environ | (environment or {}),
    ) as program:  # fmt: skip
        os.close(slave)
        said = b""
        while True:
            try:
                more = os.read(master, 65536)
            except OSError:  # the program has ended
                break
            if not more:
                break
            said += more
    os.close(master)
    assert program.returncode == 0, said
    return said.decode()


WORDS = {
    "tracing": (["cifar_resnet18", "--fresh"], "tracing cifar_resnet18 …"),
    "tables": (["tables", "3"], "computing"),
}


@pytest.mark.parametrize("name", WORDS)
def test_a_slow_command_says_on_a_terminal_what_it_is_doing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments, word = WORDS[name]
    said = on_a_terminal(*arguments, environment={"NO_COLOR": "1"})
    assert word in said
    assert not re.search(r"\x1b\[[\d;]*m", said)  # no colours
    if name == "tracing":
        assert said.endswith("\r" + " " * len(word) + "\r")  # wiped out
    piped = subprocess.run([sys.executable, "-m", "swatcost", *arguments], capture_output=True, text=True, check=True)
    assert piped.stderr == ""
    assert "\x1b" not in piped.stdout


@pytest.mark.parametrize(("even", "told"), [(True, ["6 units to x", "about 8.00 s left"]), (False, ["6 units to x"])])
def test_long_work_says_how_long_it_takes(
    even: bool, told: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter([0.0, 9.0, 11.0, 13.0, 15.0])  # after the first unit, which sets things up, 2 s each: 4 · 2 = 8
    monkeypatch.setattr("swatcost.cli.progress.time.monotonic", lambda: next(seconds))
    with LongWork("work", even=even) as work:
        for done in range(5):
            work.reached(done, of=6, sentence="6 units to x")
    assert capsys.readouterr().err.splitlines() == [f"swatcost: {each}" for each in told]
