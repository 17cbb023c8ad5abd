"""Hours, money, energy and CO₂ of a machine that does not exist are called ideal wherever they stand."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest
from click.testing import CliRunner

from swatcost.cli import cli
from swatcost.network import Network
from swatcost.planning import RunPlan, plan_run
from swatcost.report import render
from swatcost.report.numbers import seconds, three_digits

SPARSE = ["--weights", "0.8", "--acts", "0.8"]
FOLLOW_FROM_TIME = (
    "seconds", "compute_seconds", "seconds_without_overlap", "gpu_hours", "energy_kwh", "co2_kg", "money",
    "traffic_seconds", "exposed_traffic_seconds",
)  # fmt: skip


@pytest.fixture(scope="module", params=["a100", "rtx2080ti"])
def run(request: pytest.FixtureRequest, resnet50: Network) -> RunPlan:
    return plan_run(resnet50, weights=0.8, acts=0.8, device=request.param, price=2, link="16GB")


def shown(found: RunPlan, account: str) -> list[str]:
    """The figures of an account, as people are shown them."""
    without, energy, co2, money = found.seconds_without_overlap, found.energy_kwh, found.co2_kg, found.money
    assert None not in (without, energy, co2, money)
    return [
        seconds(getattr(found.seconds, account)),
        seconds(getattr(without, account)),
        f"{three_digits(getattr(found.gpu_hours, account))} GPU-h",
        f"{three_digits(getattr(energy, account))} kWh",
        f"{three_digits(getattr(co2, account))} kg",
        f"{getattr(money, account):,.2f} USD",
    ]


def column_of(text: str, at: int, end: int) -> str:
    """The heading above a right-aligned cell that ends there; empty outside of tables."""
    lines = text[:at].split("\n")
    rule = next((place for place in reversed(range(len(lines))) if re.fullmatch(r"[- ]*--[- ]*", lines[place])), None)
    if rule is None or "" in lines[rule:-1]:
        return ""
    column = end - (at - len(lines[-1]))
    begin = next((place for place in reversed(range(column)) if lines[rule][place] == " "), 0)
    return lines[rule - 1][begin:column].strip()


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("account", ["attainable", "ideal"])
def test_in_a_terminal(account: str, width: int, run: RunPlan) -> None:
    text = render(run, "table", width=width, notes=True)
    for figure in shown(run, account):
        places = [each.span() for each in re.finditer(re.escape(figure), text)]
        assert places
        for begin, end in places:
            before = text[:begin].split()[-1]
            assert account in (before, column_of(text, begin, end)), (figure, text[begin - 60 : end])


@pytest.mark.parametrize(("form", "between"), [("markdown", "|"), ("latex", "&")])
@pytest.mark.parametrize("account", ["attainable", "ideal"])
def test_in_a_paper(account: str, form: str, between: str, run: RunPlan) -> None:
    lines = render(run, form, notes=True).replace(r"\\", "").split("\n")
    for figure in shown(run, account):
        met = 0
        for place, line in enumerate(lines):
            if line.startswith(("- ", "%", "**")):
                ends = [each.start() for each in re.finditer(re.escape(figure), line)]
                assert all(line[:end].split()[-1] == account for end in ends), line
                met += len(ends)
                continue
            cells = [each.strip() for each in line.split(between)]
            if figure in cells:
                heading = next(each for each in reversed(lines[:place]) if "whole run" in each)
                assert account == [each.strip() for each in heading.split(between)][cells.index(figure)]
                met += 1
        assert met


def test_in_json(run: RunPlan) -> None:
    content = json.loads(render(run, "json"))
    for name in FOLLOW_FROM_TIME:
        assert content["run"][name].keys() == {"dense", "sparse", "attainable", "ideal"}
        assert content["run"][name]["sparse"] == content["run"][name]["ideal"]
    for name in ("training_flops", "exact_flops", "peak_bytes", "gradient_bytes", "traffic_bytes"):
        assert content["run"][name].keys() == {"dense", "sparse"}


def test_in_csv(run: RunPlan) -> None:
    rows = {each["quantity"]: each for each in csv.DictReader(io.StringIO(render(run, "csv")))}
    for name in FOLLOW_FROM_TIME:
        assert rows[name]["sparse"] == rows[name]["ideal"] != ""
        assert rows[name]["attainable"] != ""
    for name in ("iterations", "training_flops", "peak_bytes"):
        assert rows[name]["ideal"] == rows[name]["attainable"] == ""


def test_a_simulated_machine_is_neither_ideal_nor_attainable() -> None:
    words = ["plan", "cifar_wrn_16_8", *SPARSE, "--epochs", "2", "--samples", "640", "--device", "bit-tactical"]
    content = json.loads(CliRunner().invoke(cli, [*words, "--format", "json"]).stdout)["run"]
    assert content["seconds"].keys() == {"dense", "sparse", "simulated"}
    assert content["seconds"]["sparse"] == content["seconds"]["simulated"]
    header = CliRunner().invoke(cli, [*words, "--format", "csv"]).stdout.split("\n")[0]
    assert header == "quantity,dense,sparse,simulated"
    text = CliRunner().invoke(cli, words).stdout
    assert re.search(r"^whole run +dense +simulated$", text, re.MULTILINE)
    assert "attainable" not in text.lower()


@pytest.mark.parametrize(
    "words",
    [
        ["resnet50", *SPARSE],
        ["summary", "resnet50", *SPARSE],
        ["compare", "resnet50", *SPARSE],
        ["sweep", "resnet50", "--weights", "0.8,0.9"],
        ["solve", "resnet50", "--speedup", "3"],
        ["explain", "resnet50", "--method", "rigl", "--weights", "0.8", "--to-convention", "rigl"],
        ["two-four", "resnet50"],
    ],
)
def test_other_commands_show_no_hours_nor_what_follows_from_them(words: list[str]) -> None:
    done: Any = CliRunner().invoke(cli, words)
    assert done.stdout, done.stderr
    assert not re.search(r"GPU-h|kWh|USD|CO₂|\d h \d+ min", done.stdout)
