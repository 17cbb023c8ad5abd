"""Training runs on sparse kernels: interrupted, resumed, beside the masked run, and what is said of misuse."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swatcost.cli import main
from swatcost.reference.training import run

from .test_extras import run_without
from .test_run import assert_resumed_to_the_bit, settings_of

pytest.importorskip("numba")
pytestmark = pytest.mark.usefixtures("one_thread")


def test_misused_kernels_are_one_line(
    small: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    words = ["run", small, "--input-shape", "1,8,8", "--steps", "1", "--weights", "0.8"]
    for more, message in (
        (["--kernels", "x"], "'x' is not one of"),
        (["--kernels", "sparse", "--on", "cuda"], "sparse kernels run on a CPU"),
        (["--kernels", "auto", "--device", "rtx2080ti"], "rtx2080ti has no times of swatcost's own kernels"),
    ):
        assert main([*words, *more]) == 2
        out, err = capsys.readouterr()
        assert (out, message in err) == ("", True)
    assert main([*words[:-2], "--kernels", "sparse"]) == 2
    assert "nothing is sparse" in capsys.readouterr().err
    done = run_without("numba", *words, "--kernels", "sparse")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == "swatcost: sparse kernels need numba: pip install 'swatcost[kernels]'"
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.glob("*.jsonl"))


@pytest.mark.parametrize("kernels", ["sparse", "auto"])
def test_a_run_on_kernels_that_is_resumed_is_the_same_to_the_bit(small: str, tmp_path: Path, kernels: Any) -> None:
    assert_resumed_to_the_bit(settings_of(small, data="synthetic", steps=18, kernels=kernels), tmp_path)


def test_few_steps_are_measured_on_masked_tensors(small: str, tmp_path: Path) -> None:
    """So that most run on sparse kernels, in a short run too."""
    asked = settings_of(small, data="synthetic", steps=12, kernels="sparse", record_every=None)
    done = run(asked, tmp_path / "run.jsonl")
    assert [step.step for step in done.measured] == [0, 11]
    shown = str(done)
    assert "sparse kernels" in shown
    assert "dense kernels" not in shown


def test_a_hundred_steps_on_digits_are_those_of_the_masked_run(small: str, tmp_path: Path) -> None:
    """Losses part by 9e-7 of themselves, as do those of the masked run in one thread from those in two (1e-6). A weight
    whose magnitude rounding lifts over a threshold would count in one run alone, hence the margin.
    """
    # layers are measured in the first step and the last, which run on masked tensors
    given = replace(settings_of(small, steps=100, weights=0.8, acts=0.8), record_every=1000)
    dense, sparse = (
        run(replace(given, kernels=kernels), tmp_path / f"{kernels}.jsonl") for kernels in ("dense", "sparse")
    )
    for mine, its in zip(sparse.steps, dense.steps, strict=True):
        assert mine.loss == pytest.approx(its.loss, rel=1e-4)
    accuracy = dense.tests[-1].accuracy
    assert accuracy > 0.9
    assert sparse.tests[-1].accuracy == pytest.approx(accuracy, abs=1.01 / 359)  # a sample of the fifth held out


def test_kernels_leave_torch_its_number_of_threads() -> None:
    """numba starts its threads at the first kernel, and OpenMP then has as many for torch."""
    lines = (
        "import torch, swatcost",
        "from swatcost.reference import convert",
        "torch.set_num_threads(1)",
        "module = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 4))",
        "found = swatcost.estimate(swatcost.trace(module, input_shape=(8,)), weights=0.5, acts=0.5)",
        "with convert(module, found, kernels='sparse'):",
        "    assert torch.get_num_threads() == 1",
        "    module(torch.randn(4, 8)).sum().backward()",
        "assert torch.get_num_threads() == 1",
    )
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)


@pytest.mark.parametrize("asked", ["NUMBA_THREADING_LAYER=foo", "NUMBA_NUM_THREADS=0"])
def test_variables_of_numba_that_it_cannot_use_are_one_line(asked: str, tmp_path: Path) -> None:
    name, value = asked.split("=")
    command = [
        "run",
        "cifar_resnet18",
        "--input-shape",
        "3,8,8",
        "--weights",
        "0.8",
        "--epochs",
        "0.01",
        "--kernels",
        "sparse",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "swatcost", *command], cwd=tmp_path, env={**os.environ, name: value},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert f"swatcost: numba cannot start threads with {asked}: unset {name}" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
