"""The explorer: what the page shows for its controls, and what the command does. In a browser: test_browser.py."""

from __future__ import annotations

import errno
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import swatcost
from swatcost.cli import main
from swatcost.explorer.app import answer, explorer
from swatcost.explorer.controls import Controls, answered, controls_from
from swatcost.page import CHARTS, charts
from swatcost.page.plotly_charts import figures_of
from swatcost.report import estimate as content
from swatcost.setting import command_line


@pytest.fixture(scope="module")
def network() -> swatcost.Network:
    return swatcost.load("resnet50")


MODEL = ["resnet50"]


def values(controls: Controls, **changed: Any) -> dict[str, Any]:
    """The controls' values from the start on, with some moved."""
    return controls.values(controls.sent) | changed


def sent(controls: Controls, **changed: Any) -> tuple[Any, ...]:
    """The same as the page sends them: of counts, the place among those that are offered."""
    moved = values(controls, **changed)
    return tuple(
        list(each.offered).index(moved[each.name]) if each.kind == "count" else moved[each.name]
        for each in controls.each
    )


def words(component: Any) -> str:
    """All text of a part of the page, with ordinary spaces."""
    if isinstance(component, str):
        return component.replace("\N{NO-BREAK SPACE}", " ")
    inside = getattr(component, "children", component)
    return " ".join(map(words, inside)) if isinstance(inside, list | tuple) else words(inside) if inside else ""


SETTINGS: list[dict[str, Any]] = [
    {},
    {"weights": 0.9, "acts": 0.5, "period": 10, "batch_size": 128},
    {"method": "rigl", "acts": 0.0, "convention": "rigl", "distribution": "erk"},
    {"method": "meprop", "weights": 0.0, "acts": 0.0, "grads": 0.9, "device": "a100"},
    {"weights": 0.0, "acts": 0.0},
]


@pytest.mark.parametrize("moved", SETTINGS)
def test_what_is_moved_is_what_is_estimated(network: swatcost.Network, moved: dict[str, Any]) -> None:
    controls = controls_from({})
    asked = values(controls, **moved)
    left_out = {name for name in ("weights", "acts", "grads") if not asked[name]}
    if asked["distribution"] == "erk":
        left_out -= {"acts"}  # they would follow the weights
    expected = swatcost.estimate(network, **{name: value for name, value in asked.items() if name not in left_out})
    found = answered(network, controls, asked)
    assert found.reason == ""
    assert found.estimate
    assert found.estimate.to_dict() == expected.to_dict()

    reason, mark, summary, details, *rest = answer(network, controls, sent(controls, **moved), model=MODEL)
    assert (reason, mark) == ("", "")
    assert content.headline(expected) in words(summary)
    shown = " ".join(words(details).split())
    for table in content.tables(expected):
        for row in table.rows:
            assert " ".join(" ".join(row).split()) in shown
    sliders = len([each for each in controls.each if each.kind in ("sparsity", "count")])
    headings, figures, hidden = (
        rest[sliders + number * len(CHARTS) : sliders + (number + 1) * len(CHARTS)] for number in range(3)
    )
    drawn = figures_of(expected)
    assert [name for name, away in zip(CHARTS, hidden, strict=True) if not away] == list(drawn)
    assert [figure for figure in figures if figure["data"]] == list(drawn.values())
    titles = [chart.title for chart in charts(expected)]
    assert [each[0].children for each, away in zip(headings, hidden, strict=True) if not away] == titles


@pytest.mark.parametrize(
    ("moved", "reason"),
    [
        ({"method": "meprop"}, "method 'meprop' has no sparse weights"),
        ({"method": "rigl"}, "method 'rigl' has no sparse activations"),
        ({"distribution": "momentum"}, "needs shares by layer or a checkpoint"),
        ({"distribution": "nm"}, "weights 0.8 is not an N:4 sparsity: give 0.25, 0.5 (2:4) or 0.75"),
    ],
)
def test_what_cannot_be_is_said_and_the_last_result_stays(
    network: swatcost.Network, moved: dict[str, Any], reason: str
) -> None:
    from dash import no_update

    controls = controls_from({})
    said, mark, summary, details, *rest = answer(network, controls, sent(controls, **moved), model=MODEL)
    assert reason in said
    assert said.endswith("Shown is the last valid estimate.")
    assert "\n" not in said
    assert mark == "stale"
    assert summary is details is no_update
    # the sliders are where they are: targets, period, batch size, steps, default activation sparsity
    assert rest[:7] == ["80 %", "80 %", "0 %", "1,000", "32", "32,000", "50 %"]
    assert all(each is no_update for each in rest[7:])


def test_every_setting_has_a_control_or_a_reason() -> None:
    from swatcost.explorer.controls import EXPLORING
    from swatcost.setting import OPTIONS

    controls = {each.name for each in controls_from({}).each}
    assert controls | EXPLORING.without.keys() == OPTIONS.keys()
    assert not controls & EXPLORING.without.keys()
    assert set(EXPLORING.without) == {"source", "keep_dense", "mfu"}


@pytest.mark.parametrize(
    "moved",
    [
        {"device": "mine.toml"}, {"method": "x"}, {"period": 0.5}, {"batch_size": "a"}, {"weights": "<b>"},
        {"weights": None}, {"period": 999}, {"one_sample": "x"}, {"first_layer": "thick"}, {"period": -1},
        {"period": True}, {"batch_size": 10**6}, {"one_sample": 1}, {"weights": 1.0}, {"weights": -0.1},
        {"weights": float("nan")}, {"weights": True},
    ],
)  # fmt: skip
def test_values_that_no_control_has_are_not_answered(moved: dict[str, Any], network: swatcost.Network) -> None:
    from dash.exceptions import PreventUpdate

    controls = controls_from({})
    given = [moved.get(each.name, each.sent) for each in controls.each]
    with pytest.raises(PreventUpdate):
        answer(network, controls, given, model=MODEL)


def test_it_starts_where_the_command_line_says() -> None:
    start = controls_from({"weights": 0.855, "period": 7, "batch_size": 100, "keep_dense": ("fc",), "device": "xeon2"})
    at = {each.name: each for each in start.each}
    assert (at["weights"].start, at["acts"].start, at["device"].start) == (0.855, 0.0, "xeon2")
    assert 7 in at["period"].offered
    assert 100 in at["batch_size"].offered
    assert start.others == {"keep_dense": ("fc",)}
    of_erk = controls_from({"weights": 0.9, "distribution": "erk"})
    assert values(of_erk)["acts"] == 0.9  # as an estimate has it
    of_rigl = values(controls_from({"method": "rigl"}))
    assert [of_rigl[name] for name in ("weights", "acts", "grads")] == [0.8, 0, 0]
    with pytest.raises(swatcost.SwatcostError, match="unknown method"):
        controls_from({"method": "swatt"})


@pytest.mark.parametrize(
    ("moved", "command"),
    [
        (
            {"period": 10, "weights": 0.1 + 0.71},  # 0.8099999999999999
            "--weights 0.81 --acts 0.8 --period 10 --steps 1000 KEPT",
        ),
        (
            {"method": "rigl", "acts": 0.0, "convention": "exact"},
            "--weights 0.8 --method rigl --convention exact --steps 1000 KEPT",
        ),
        (
            {"distribution": "erk", "weights": 0.5, "acts": 0.0},
            "--weights 0.5 --acts 0 --distribution erk --steps 1000 KEPT",
        ),
        (
            {"method": "meprop", "weights": 0.0, "acts": 0.0, "grads": 0.9},
            "--grads 0.9 --method meprop --steps 1000 KEPT",
        ),
        (
            {"hidden": True, "last_layer": "dense"},
            "--weights 0.8 --acts 0.8 --steps 1000 --last-layer dense KEPT --hide-topk",
        ),
    ],
)
def test_the_command_it_shows_gives_the_same(
    network: swatcost.Network, moved: dict[str, Any], command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    controls = controls_from({"keep_dense": ("*.conv1", "fc"), "steps": 1000})
    found = answered(network, controls, values(controls, **moved))
    assert found.estimate, found.reason
    line = command_line(["resnet50", "--input-shape", "3,224,224"], found.estimate.setting)
    kept = command.replace("KEPT", "--keep-dense '*.conv1' --keep-dense fc")
    assert line == f"swatcost resnet50 --input-shape 3,224,224 {kept}"
    _, *args = shlex.split(line)
    assert main([*args, "--format", "json"]) == 0
    printed, expected = json.loads(capsys.readouterr().out)["totals"], found.estimate.to_dict()["totals"]
    for name in ("training_reduction", "inference_reduction", "activation_reduction", "model_compression", "speedup"):
        assert printed[name] == pytest.approx(expected[name])


def test_a_file_that_was_given_can_be_explored(network: swatcost.Network, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("layer,weights,acts\n*,0.9,0.5\n")
    controls = controls_from({"distribution": "file", "source": str(table)})
    found = answered(network, controls, values(controls))
    assert found.estimate, found.reason
    assert found.estimate.weight_sparsity == pytest.approx(0.9)
    assert "leave weights out" in answered(network, controls, values(controls, weights=0.5)).reason


def test_the_browser_is_told_to_ask_nobody_else_and_no_file_is_served(network: swatcost.Network) -> None:
    client = explorer(network, {}, model=MODEL).server.test_client()
    page = client.get("/")
    assert page.headers["Content-Security-Policy"].startswith("default-src 'self';")
    assert "/_dash-component-suites/" in page.text
    for path in ("/assets/explorer.css", "/assets/app.py", "/static/app.py"):
        found = client.get(path)
        assert found.status_code == 404 or found.text.startswith("<!DOCTYPE html>")  # nothing, or the page itself


@contextmanager
def running(*options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The real command on a free port, and its address. It takes interrupts, also where tests run in the background."""
    command = ["explore", "resnet18", "--port", "0", "--no-browser", *options]
    heeding = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"
    program = [sys.executable, "-c", f"{heeding}; from swatcost.cli import main; sys.exit(main({command!r}))"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()


def test_it_serves_this_machine_until_interrupted() -> None:
    with running() as (address, process):
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address) as response:
            assert response.status == 200
            assert "Access-Control-Allow-Origin" not in response.headers
        foreign = urllib.request.Request(address, headers={"Host": "example.org"})
        with pytest.raises(urllib.error.HTTPError, match="400") as refused:
            urllib.request.urlopen(foreign)
        refused.value.close()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0
        assert (out, err) == ("", "swatcost: press Ctrl-C to stop\n")


def test_a_taken_port_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["explore", "resnet18", "--port", str(port), "--no-browser"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert (
        err == f"swatcost: port {port}: {os.strerror(errno.EADDRINUSE)}; give another with --port, 0 for any free one\n"
    )


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (["--weights", "nan"], "weights nan is not a sparsity"),
        (["--device", "nope"], "unknown device 'nope'"),
        (["--period", "0"], "period 0: give a whole number"),
        (["--method", "rigl", "--acts", "0.5"], "method 'rigl' has no sparse activations"),
        (["--distribution", "file"], "needs a table of sparsities by layer"),
    ],
)
def test_a_start_that_cannot_be_estimated_is_a_misuse(
    given: list[str], reason: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swatcost.explorer.serving.serve", lambda *_, **__: None)  # nothing to wait for
    assert main(["explore", "resnet18", "--port", "0", "--no-browser", *given]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert reason in err


def test_without_the_extra_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "swatcost.explorer.app")
    monkeypatch.setitem(sys.modules, "dash", None)
    assert main(["explore", "resnet18", "--no-browser"]) == 2
    assert capsys.readouterr().err == "swatcost: exploring needs dash and plotly: pip install 'swatcost[explore]'\n"
