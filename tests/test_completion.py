"""Shell completion, by the protocol that the shells speak, and in the shells themselves where they are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from swatcost_models import ZOO

from swatcost.accelerator import architecture_names
from swatcost.cli import COMMANDS, command_named, main
from swatcost.cli.completion import SHELLS
from swatcost.counting import CONVENTIONS
from swatcost.devices import device_names
from swatcost.exporting import EXPORTS
from swatcost.memory.optimizers import OPTIMIZERS
from swatcost.memory.precisions import PRECISIONS
from swatcost.network.conditions import AUTOCASTS
from swatcost.planning.recipes import DATASETS, RECIPES
from swatcost.planning.summary import COLUMNS
from swatcost.reference.thresholds import SELECTIONS
from swatcost.setting import OPTIONS


def offered(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], words: str, shell: str = "bash"
) -> list[str]:
    """The answer to what a shell asks when Tab is pressed at the end of these words."""
    last = words.split(" ")[-1]
    monkeypatch.setenv("_SWATCOST_COMPLETE", f"{shell}_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", last if shell == "fish" else str(words.count(" ")))
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 0
    out, err = capfd.readouterr()
    assert err == ""
    return out.splitlines()


@pytest.mark.parametrize(
    ("words", "some"),
    [
        ("swatcost wide", ["plain,wide_resnet50_2"]),
        ("swatcost ", ["file,", "plain,vit_b_16", "plain,simulate", "plain,list"]),
        ("swatcost res", ["file,res", "plain,resnet18"]),
        ("swatcost resnet50 --we", ["plain,--weights"]),
        ("swatcost --we", ["plain,--weights"]),
        ("swatcost --vers", ["plain,--version"]),
        ("swatcost --no-config vit", ["plain,vit_b_16"]),
        ("swatcost --weights 80% vit", ["plain,vit_b_16"]),
        ("swatcost resnet50 --method swat-", ["plain,swat-structured"]),
        ("swatcost resnet50 --method rigl:", ["plain,rigl:delta_t=", "plain,rigl:t_end="]),
        ("swatcost resnet50 --method rigl:delta_t=200,", ["plain,rigl:delta_t=200,t_end="]),
        ("swatcost list methods --method rigl:de", ["plain,rigl:delta_t="]),
        ("swatcost compare resnet50 --methods set,rigl:t", ["plain,set,rigl:t_end="]),
        ("swatcost plan gpt2 --methods slope,spdf:w", ["plain,slope,spdf:weights="]),
        ("swatcost resnet50 --distribution e", ["plain,er", "plain,erk"]),
        ("swatcost compare resnet50 --convention ex", ["plain,exact"]),
        ("swatcost explain resnet50 --to-convention ri", ["plain,rigl", "plain,rigl-padded"]),
        ("swatcost resnet50 --device ", ["file,", "plain,a100", "plain,bit-tactical"]),
        ("swatcost resnet50 --format mark", ["plain,markdown"]),
        ("swatcost memory resnet50 --optimizer adamw", ["plain,adamw"]),
        ("swatcost simulate resnet50 --arch ", ["file,", "plain,bit-tactical"]),
        ("swatcost export resnet50 --to sc", ["plain,scalesim"]),
        ("swatcost summary resnet50 --columns params,for", ["plain,params,forward"]),
        ("swatcost tables R", ["plain,RigL"]),
        ("swatcost list arch", ["plain,architectures"]),
        ("swatcost resnet50 --output o", ["file,o"]),
        ("swatcost resnet50 --from t", ["file,t"]),
        ("swatcost completion z", ["plain,zsh"]),
    ],
)
def test_bash_is_offered(
    words: str, some: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    found = offered(monkeypatch, capfd, words)
    assert set(some) <= set(found)
    last = words.split(" ")[-1]
    assert all(each.partition(",")[2].startswith(last) for each in found)
    assert len(found) == len(set(found))


def test_zsh_and_fish_are_offered(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    found = offered(monkeypatch, capfd, "swatcost resnet50 --method snf", "zsh")
    assert found[:3] == ["plain", "snfs", "_"]
    assert "plain,snfs" in offered(monkeypatch, capfd, "swatcost resnet50 --method snf", "fish")
    assert offered(monkeypatch, capfd, "swatcost resnet50 --we", "fish")[0].startswith("plain,--weights")


NAMES = {
    "model": ZOO, "models": ZOO, "networks": ZOO, "unseen": ZOO, "optimizer": OPTIMIZERS.names(),
    "precision": PRECISIONS.names(), "recipe": RECIPES.names(), "dataset": DATASETS.names(), "to": EXPORTS.names(),
    "arch": architecture_names(), "masks": ["gaussian", "random"], "data": ["digits", "synthetic"],
    "table": ["3", "all"],
    "loss": ["none", "mse", "cross-entropy"],
    "fit": device_names(), "from_convention": CONVENTIONS.names(), "to_convention": CONVENTIONS.names(),
    "columns": COLUMNS, "depth": ["all"],
}  # fmt: skip
"""Of parameters that are no settings, what some values can be."""


def test_every_name_to_choose_is_completed_in_every_command() -> None:
    checked: set[str] = set()
    for name in COMMANDS:
        command = command_named(name)
        for parameter in command.params:
            key = str(parameter.name)
            hidden = isinstance(parameter, click.Option) and parameter.hidden
            names = (
                NAMES.get(key) or (OPTIONS[key].names and OPTIONS[key].names()) if key in {*NAMES, *OPTIONS} else None
            )
            if key == "selection" and name in ("run", "validate"):
                names = SELECTIONS.names()
            if key == "precision" and name == "trace":
                names = list(AUTOCASTS)
            if hidden or not names:
                continue
            found = [each.value for each in parameter.shell_complete(click.Context(command), "")]
            assert set(names) <= set(found), (name, key)
            checked.add(key)
    assert checked >= {*NAMES, *(key for key, option in OPTIONS.items() if option.names)}


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_of_each_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert f"_SWATCOST_COMPLETE={shell}_complete" in capsys.readouterr().out


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a program swatcost, first in PATH, and a saved trace."""
    program = tmp_path / "swatcost"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m swatcost "$@"\n')
    program.chmod(0o755)
    (tmp_path / "mine.json").write_text("{}")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent.parent), *sys.path]))
    return tmp_path


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_in_bash(installed: Path) -> None:
    script = """
        compopt() { :; }  # that Bash knows only while it completes
        eval "$(swatcost completion bash)"
        complete -p swatcost
        COMP_WORDS=(swatcost densenet121 --conv) COMP_CWORD=2
        _swatcost_completion swatcost
        echo "${COMPREPLY[@]}"
    """
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["complete -o nosort -F _swatcost_completion swatcost", "--convention"]
    assert done.stderr == ""


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
def test_in_fish(installed: Path) -> None:
    script = "swatcost completion fish | source; complete -C 'swatcost densen'; complete -C 'swatcost min'"
    done = subprocess.run(["fish", "-c", script], capture_output=True, text=True, check=True, cwd=installed)
    assert done.stdout.splitlines() == ["densenet121", "mine.json"]


def test_completion_imports_nothing_heavy() -> None:
    code = """
import sys
from swatcost.cli import main
try:
    main([])
finally:
    print({"torch", "numpy", "pandas", "matplotlib"} & set(sys.modules), file=sys.stderr)
"""
    for words in ("swatcost res", "swatcost resnet50 --device a", "swatcost tables R", "swatcost export a --to s"):
        asked = {"_SWATCOST_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        done = subprocess.run([sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "set()\n")
        assert "plain," in done.stdout
