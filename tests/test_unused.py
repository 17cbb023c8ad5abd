"""An option that a command takes and does not use in the case at hand is refused, or said to make no difference.

Every option of every command is tried in several cases against the output without it. Each has to change a number, be
refused, or be named on standard error.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
import torch
from torch import nn

import swatcost
from swatcost.cli import COMMANDS, command_named, main
from swatcost.memory.execution import EXECUTING
from swatcost.setting import OPTIONS, option_name

Captured = pytest.CaptureFixture[str]

SETTINGS = {
    "weights": "0.5", "acts": "0.5", "grads": "0.5", "period": "7", "method": "snfs", "distribution": "erk",
    "convention": "rigl", "device": "a100", "batch_size": "8", "steps": "777", "source": "2:4",
    "default_act_sparsity": "0.3", "first_layer": "sparse", "last_layer": "dense", "keep_dense": "conv1",
    "dense_budget": "outside", "selection": "radix", "one_sample": "", "hidden": "", "precision": "fp16",
    "optimizer": "adam", "mfu": "0.4",
}  # fmt: skip
"""A value other than the default of each setting; a flag has none."""

EXECUTION = [
    "--update loop",
    "--accumulate 2",
    "--update-in-backward",
    "--gpus 2",
    "--sharding fsdp",
    "--tensor-parallel 1",
    "--weight-storage transposes=1",
]
OF_COMMANDS = {
    "summary": ["--depth 1", "--columns params", "--fold", "--per token"],
    "compare": ["--methods set,rigl", "--conventions exact", "--relative"],
    "explain": ["--from-convention rigl", "--to-convention rigl"],
    "conventions": [],
    "inference": ["--prompt 512", "--generate 7", "--dtype fp16"],
    "memory": [
        "--optimizer adam", "--precision bf16", "--loss none", "--offload", "--hold-outputs",
        "--fit 1GB", "--link 1GB", *EXECUTION,
    ],
    "solve": [
        "--optimizer adam", "--precision bf16", "--loss none", "--offload", "--hold-outputs",
        "--memory 1GB", "--speedup 2", "--ideal", "--top-k-overhead 0.1", *EXECUTION,
    ],
    "plan": [
        "--gpus 2", "--watts 100", "--pue 1.5", "--grid 0.1", "--price 2", "--currency EUR", "--link 1GB",
        "--recipe resnet50", "--dataset cifar10", "--optimizer adam", "--precision bf16", "--loss none", "--offload",
        "--hold-outputs", "--methods set,rigl",
        *(each for each in EXECUTION if "gpus" not in each),
    ],
    "simulate": ["--shape L4,3", "--masks random", "--filter-spread 0.4", "--seed 3"],
    "export": ["--passes training", "--bits 8"],
    "two-four": ["--element int8", "--batch-size 8"],
    "tables": [],
    "estimate": ["--chart cost", "--fold", "--per token"],
    "sweep": ["--paired"],
    "trace": ["--loss none", "--precision amp", "--offload", "--hold-outputs"],
}  # fmt: skip
"""Options of each command's own."""

SHOWN = ["--layers", "--notes", "--quiet", "--plot-size column", "--no-title", "--fresh", "--checkpoint block"]
FIRST = {
    "solve": ["--training-flops", "0.6"], "plan": ["--epochs", "2", "--samples", "640"], "export": ["--to", "csv"],
}  # fmt: skip
CASES = {
    "sparse": ["--weights", "0.8", "--acts", "0.75"],
    "dense": [],
    "rigl": ["--method", "rigl", "--weights", "0.8"],
    "erk": ["--distribution", "erk", "--weights", "0.8"],
    "budget": ["--distribution", "er", "--weights", "0.8", "--first-layer", "dense"],
    "set": ["--method", "set", "--weights", "0.8", "--convention", "exact"],
    "meprop": ["--method", "meprop", "--grads", "0.8"],
    "one": ["--weights", "0.8", "--batch-size", "1"],
}
NARROW = ("budget", "set", "one")
ECHOES = {
    "setting", "method", "distribution", "convention", "device", "topk_period", "batch_size", "schema", "assumptions",
    "default_act_sparsity", "steps", "from", "to", "masks", "seed", "command", *EXECUTING,
}  # fmt: skip
"""Keys of JSON that repeat the question."""


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.block = nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3))
        self.fc = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.fc(self.block(self.conv1(x).relu()).relu().mean((2, 3)))
        return found


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("traces") / "net.json"
    path.write_text(swatcost.trace(Net(), input_shape=(3, 12, 12), name="net").to_json())
    return str(path)


@pytest.fixture
def traced_anew(tmp_path: Path) -> str:
    """The same network as a factory in a file, whose loss and checkpointed modules may be chosen."""
    (tmp_path / "net.py").write_text(
        "import torch\n"
        f"from {Net.__module__} import Net\n"
        "def net():\n    return Net(), torch.randn(2, 3, 12, 12)\n"
        "def squares():\n    return lambda output: output.square().mean()\n"
    )
    return str(tmp_path / "net.py")


def answered(text: str) -> Any:
    """The numbers of an answer, without the question."""

    def answer(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: answer(value) for key, value in part.items() if key not in ECHOES}
        return [answer(each) for each in part] if isinstance(part, list) else part

    try:
        return answer(json.loads(text))
    except ValueError:
        return text


@pytest.fixture
def tried(capsys: Captured) -> Callable[[list[str]], tuple[int, Any, str]]:
    def run(words: list[str]) -> tuple[int, Any, str]:
        code = main(words)
        output, errors = capsys.readouterr()
        return code, answered(output), errors

    return run


def takes(command: str, option: str) -> bool:
    return any(option in each.opts for each in command_named(command).params if not getattr(each, "hidden", False))


def test_every_option_is_tried_or_acts_by_itself() -> None:
    acting = {  # what they do is not in the output, or they are tried elsewhere
        "--output", "--plot", "--format", "--no-config", "--classes", "--input-shape", "--input-dtype", "--samples",
        "--epochs", "--tokens", "--training-flops", "--to", "--arch", "--seq-len", "--set",
    }  # fmt: skip
    expensive = {"audit", "run", "validate", "calibrate", "study", "report", "explore", "list", "completion"}
    settings = {option_name(name) for name in OPTIONS}
    assert set(OF_COMMANDS) == set(COMMANDS) - expensive
    for command, own in OF_COMMANDS.items():
        tried = {each.split()[0] for each in (*own, *SHOWN)} | settings | acting
        options = [each for each in command_named(command).params if isinstance(each, click.Option)]
        assert {max(each.opts, key=len) for each in options} <= tried, command


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("command", [each for each in OF_COMMANDS if each not in ("trace", "tables")])
def test_an_option_changes_a_number_or_is_refused_or_said(
    command: str, case: str, saved: str, tried: Callable[[list[str]], tuple[int, Any, str]]
) -> None:
    if case in NARROW and command not in ("estimate", "memory", "sweep"):
        pytest.skip("what is particular to the case is tried there")
    asked = [] if command == "two-four" else CASES[case]
    if any(each.startswith("--") and not takes(command, each) for each in asked):
        pytest.skip(f"{command} is not asked that")
    form = ["--format", "json"] if takes(command, "--format") else []
    first = [command, saved, *FIRST.get(command, []), *form, *asked]
    code, before, _ = tried(first)
    if code == 2:
        pytest.skip(f"{command} refuses the case")
    silent = []
    settings = [
        f"{option_name(name)} {value}".split() for name, value in SETTINGS.items() if takes(command, option_name(name))
    ]
    others = [each.split() for each in (*OF_COMMANDS[command], *SHOWN) if takes(command, each.split()[0])]
    for words in [*settings, *others]:
        if words[0] in first:
            continue
        code, after, errors = tried([*first, *words])
        said = code == 2 or f"{words[0]} has no effect here: " in errors
        if not said and after == before:
            silent.append(words)
    assert not silent, silent


CONDITIONS = {
    "estimate": "", "summary": "", "compare": "", "plan": "", "sweep": "--weights 0.5", "explain": "--weights 0.5",
    "conventions": "--weights 0.5",
    "solve": "", "memory": "", "simulate": "--weights 0.5", "two-four": "", "export": "--passes training",
}  # fmt: skip


@pytest.mark.parametrize("command", CONDITIONS)
def test_a_condition_of_the_traced_step_changes_a_number_or_is_said(
    command: str, traced_anew: str, tried: Callable[[list[str]], tuple[int, Any, str]]
) -> None:
    form = ["--format", "json"] if takes(command, "--format") else []
    first = [command, f"{traced_anew}:net", *FIRST.get(command, []), *form, *CONDITIONS[command].split()]
    code, before, _ = tried(first)
    assert code == 0
    losses = [f"--loss {loss}" for loss in ("none", "mse", f"{traced_anew}:squares")]
    for words in (each.split() for each in ("--checkpoint block", "--precision amp", "--offload", *losses)):
        at_the_peak = (command, words[0]) == ("plan", "--offload")  # where all is back on the GPU: 545,352 bytes
        if not takes(command, words[0]) or at_the_peak:
            continue
        code, after, errors = tried([*first, *words])
        assert code == 0, (words, errors)
        assert (f"{words[0]} has no effect here: " in errors) == (after == before), (words, errors)


@pytest.mark.parametrize("command", ["explain", "solve", "sweep"])
def test_what_is_checkpointed_and_not_recomputed(
    command: str, traced_anew: str, tried: Callable[[list[str]], tuple[int, Any, str]]
) -> None:
    """A normalisation alone is recomputed: there is no MAC in it, and no memory in these answers."""
    first = [command, f"{traced_anew}:net", *FIRST.get(command, []), "--format", "json", *CONDITIONS[command].split()]
    code, before, _ = tried(first)
    reason = "no conv or linear layer and no product is recomputed"
    said = f"swatcost: --checkpoint has no effect here: {reason}\n"
    assert tried([*first, "--checkpoint", "block.1"]) == (code, before, said)


def test_of_a_trace(traced_anew: str, capsys: Captured) -> None:
    asked = [["--checkpoint", "block"], ["--loss", f"{traced_anew}:squares"], ["--precision", "amp"]]
    texts = set()
    for words in ([], *asked):
        assert main(["trace", f"{traced_anew}:net", *words]) == 0
        texts.add(capsys.readouterr().out)
    assert len(texts) == 1 + len(asked)
    assert main(["trace", f"{traced_anew}:net", "--precision", "bf16"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "--precision 'bf16': a trace is in the network's own precision, or under torch.autocast" in captured.err


def test_in_python_a_note_says_so() -> None:
    found = swatcost.estimate("resnet50", method="rigl", weights=0.8, period=7, dense_budget="outside")
    assert found.assumptions[-2:] == [
        "period makes no difference: method rigl selects nothing by Top-K.",
        "dense_budget makes no difference: distribution uniform has no target for the whole network.",
    ]
    used = swatcost.estimate("resnet50", weights=0.8, acts=0.8, period=7, steps=7, convention="exact", batch_size=8)
    assert not [each for each in used.assumptions if "makes no difference" in each]


def test_a_restated_default_is_not_spoken_of(capsys: Captured) -> None:
    words = ["--method", "swat", "--period", "1000", "--distribution", "uniform", "--steps", "32000"]
    assert main(["cifar_resnet18", *words]) == 0
    assert capsys.readouterr().err == ""


def test_a_wish_from_the_environment_is_not_spoken_of(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    for name, value in {"PERIOD": "7", "PLOT_SIZE": "column", "QUIET": "1", "CURRENCY": "EUR", "FRESH": "1"}.items():
        monkeypatch.setenv(f"SWATCOST_{name}", value)
    assert main(["cifar_resnet18", "--method", "rigl", "--weights", "0.8", "--format", "json"]) == 0
    assert "has no effect here" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sweep", "NET", "--weights", "0.5,0.9,0.5"], "--weights: 0.5 is given twice, give each value once"),
        (["sweep", "NET", "--weights", "0.5", "--period", "1,1"], "--period: 1 is given twice"),
        (["sweep", "NET", "--weights", "0.5", "--method", "swat,swat"], "--method: swat is given twice"),
        (["sweep", "NET", "--weights", "0.5,0.6", "--batch-size", "8,8", "--paired"], "--batch-size: 8 is given twice"),
        (["study", "NET", "--weights", "0.5,0.5"], "--weights: 0.5 is given twice"),
        (["study", "NET", "--weights", "0.5", "--shape", "T2,5", "--shape", "T2,5"], "--shape: T2,5 is given twice"),
        (["NET", "--no-title"], "--no-title is for a plot: give --plot FILE, or leave it out"),
        (["tables", "9", "--plot-size", "screen"], "--plot-size is for a plot"),
    ],
)
def test_refused(words: list[str], message: str, saved: str, capsys: Captured) -> None:
    assert main([saved if each == "NET" else each for each in words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err


def test_pairs_may_repeat_a_value(saved: str, capsys: Captured) -> None:
    assert main(["sweep", saved, "--weights", "0.5,0.5", "--acts", "0.1,0.2", "--paired"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "ending", "message"),
    [
        ([], ".foo", "is written as a plain table; --format has other forms"),
        (["--format", "json"], ".foo", ""),
        ([], ".txt", ""),
        ([], "", ""),
    ],
)
def test_an_ending_that_is_no_form(
    words: list[str], ending: str, message: str, saved: str, capsys: Captured, tmp_path: Path
) -> None:
    assert main([saved, *words, "--output", str(tmp_path / f"out{ending}")]) == 0
    errors = capsys.readouterr().err
    assert message in errors
    assert bool(errors) == bool(message)


def test_a_trace_that_no_command_would_take(saved: str, capsys: Captured, tmp_path: Path) -> None:
    assert main(["trace", saved, "--output", str(tmp_path / "net.trace")]) == 0
    assert "as MODEL only if its name ends in .json" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--convention rigl", "--steps 777", "--dense-budget outside", "--paired"])
def test_of_a_study(option: str, saved: str, capsys: Captured) -> None:
    assert main(["study", saved, "--weights", "0.8", "--jobs", "1", *option.split()]) == 0
    assert f"{option.split()[0]} has no effect here: " in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--period 7", "--last-layer dense"])
def test_of_a_dense_run(option: str, capsys: Captured, tmp_path: Path) -> None:
    record = str(tmp_path / "run.jsonl")
    words = ["run", "cifar_resnet18", "--input-shape", "3,8,8", "--steps", "1", "--batch-size", "2", "--output", record]
    assert main([*words, "--data", "synthetic", *option.split()]) == 0
    assert f"{option.split()[0]} has no effect here: nothing is sparse" in capsys.readouterr().err


def test_who_asks_for_dense_training_gets_it(capsys: Captured) -> None:
    assert main(["cifar_resnet18", "--method", "dense"]) == 0
    assert capsys.readouterr().err == ""
