"""What reports have to say wherever a number could be read for another one."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from torch import nn

import swatcost
from swatcost.cli import main

SPARSE = ["--weights", "0.9"]


def printed(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    assert main(list(args)) in (0, 1)
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "args",
    [
        ["cifar_resnet18", *SPARSE],
        ["plan", "cifar_resnet18", *SPARSE],
        ["solve", "cifar_resnet18", "--speedup", "2"],
        ["compare", "cifar_resnet18", *SPARSE],
        ["compare", "cifar_resnet18", "resnet18", *SPARSE],
    ],
)
def test_a_machine_that_nobody_measured_is_marked_before_the_numbers(
    args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "a100 (not measured)" in printed(capsys, *args, "--device", "a100")
    assert "(not measured)" not in printed(capsys, *args)


@pytest.mark.parametrize("command", ["compare", "sweep", "solve", "plan"])
def test_speedups_of_an_unmeasured_machine_are_marked_as_not_bounds(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    goal = ["--speedup", "2"] if command == "solve" else SPARSE
    assert "the speedup is not a bound" in printed(capsys, command, "cifar_resnet18", *goal, "--device", "a100")


def test_bytes_that_take_longer_than_macs_are_said_to(capsys: pytest.CaptureFixture[str]) -> None:
    # batch normalisation and 121 layers move more than an A100's 2,039 GB/s lets it multiply meanwhile
    assert "which fewer MACs do not shorten" in printed(capsys, "cifar_densenet121", *SPARSE, "--device", "a100")
    assert "which fewer MACs do not shorten" not in printed(capsys, "cifar_densenet121", *SPARSE)


def test_a_comparison_says_what_was_compared(capsys: pytest.CaptureFixture[str]) -> None:
    said = printed(capsys, "compare", "cifar_resnet18", "--weights", "0.9", "--acts", "0.8", "--period", "7")
    assert "weights and outputs 90 % sparse, activations 80 % sparse" in said
    assert "uniform, rtx2080ti, batch 32, Top-K every 7" in said


@pytest.mark.parametrize(
    "args",
    [
        ["a", "--method", "pruning"],
        ["plan", "a", "--method", "pruning", "--epochs", "2", "--samples", "64"],
        ["compare", "a"],
        ["compare", "a", "b"],
    ],
)
def test_cycles_of_one_step_are_said_to_stand_for_the_run(
    args: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.Flatten(), nn.Linear(256, 8))
    for name in ("a", "b"):
        swatcost.trace(module, input_shape=(3, 8, 8), name=name).save(tmp_path / f"{name}.json")
    words = [str(tmp_path / f"{each}.json") if each in ("a", "b") else each for each in args]
    said = printed(capsys, *words, *SPARSE, "--device", "bit-tactical")
    assert "over a run: the cycles are those of a step at the target sparsity, for the whole run." in said
    assert "as its FLOPs are fewer" not in said  # which is not how its speedups came about
    assert "the cycles are those" not in printed(capsys, *words, *SPARSE)
    if args[0] != "compare":  # where swat is not alone
        steady = ["swat" if each == "pruning" else each for each in words]
        assert "the cycles are those" not in printed(capsys, *steady, *SPARSE, "--device", "bit-tactical")


@pytest.mark.parametrize(
    "args",
    [
        ["plan", "resnet50", *SPARSE, "--acts", "0.9"],
        ["solve", "resnet50", "--speedup", "4"],
        ["memory", "resnet50", *SPARSE],
        ["sweep", "resnet50", *SPARSE],
        ["explain", "resnet50", *SPARSE],
        ["audit", "71.37%", "cifar_resnet18", *SPARSE],
        ["simulate", "cifar_resnet18", *SPARSE],
    ],
)
def test_latex_output_is_tables_and_comments_only(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*args, "--format", "latex"]) == 0
    inside = False
    for line in capsys.readouterr().out.splitlines():
        inside = inside or line.startswith(r"\begin")
        assert inside or not line or line.startswith("%"), line
        inside = inside and not line.startswith(r"\end{tabular}")


def test_a_plans_csv_holds_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "resnet50", *SPARSE, "--format", "csv"]) == 0
    rows = {row["quantity"]: row for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    assert rows["iterations"]["dense"] == "450450"  # 90 · ceil(1,281,167 / 256)
    assert float(rows["compute_seconds"]["dense"]) == pytest.approx(450_450 * 0.147)
    assert "money" not in rows  # nobody named a price


@pytest.mark.parametrize("name", ["a.xlsx", "a.html", "a.parquet"])
def test_an_ending_of_another_form_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "cifar_resnet18", *SPARSE, "--output", str(tmp_path / name)]) == 2
    assert "choose one with --format" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_amount_of_memory_needs_a_unit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memory", "cifar_resnet18", "--fit", "11"]) == 2
    assert "give a unit, such as 11GB" in capsys.readouterr().err


def test_a_sweep_names_the_method_that_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    # with its downsampling layers dense, what is left of ERK's layers cannot make up for 90 %
    args = ["sweep", "resnet50", "--method", "rigl,set", "--distribution", "erk", "--weights", "0.5,0.9"]
    assert main(args) == 2
    assert "set with erk: " in capsys.readouterr().err
