"""Why two conventions give two numbers: steps that add up, each a convention of its own, and what is said of them."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from functools import cache
from itertools import permutations
from math import fsum
from pathlib import Path

import pytest
from torch import nn

import swatcost
from swatcost import SwatcostError, plots
from swatcost.cli import main
from swatcost.counting.conventions import CONVENTIONS, EXACT, Convention, conventions_of
from swatcost.counting.switches import SWITCHES
from swatcost.methods import METHODS
from swatcost.network.layer import Layer
from swatcost.planning.explanation import FORMULA, Explanation
from swatcost.report import render

from .by_hand import applies, chain, everywhere
from .conftest import zoo_network

RIGL = ["explain", "resnet50", "--method", "rigl", "--weights", "0.8", "--default-act-sparsity", "0.459"]
FROM_SWAT_TO_RIGL = [*RIGL, "--from-convention", "swat", "--to-convention", "rigl"]


def strided() -> swatcost.Network:
    """Strided, grouped and depthwise convolutions, a frozen one, a transposed one, and a linear layer."""
    frozen = nn.Conv2d(8, 8, 3, padding=1).requires_grad_(False)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2), nn.ReLU(), frozen, nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=(2, 1), groups=4), nn.ReLU(), nn.Conv2d(16, 16, 3, stride=2, groups=16), nn.ReLU(),
        nn.ConvTranspose2d(16, 4, 2, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 4 * 6, 5),
    )  # fmt: skip
    return swatcost.trace(module, input_shape=(3, 29, 23), name="strided")


@cache
def network(name: str) -> swatcost.Network:
    return {"strided": strided, "chain": lambda: chain(3, 5, 2)}.get(name, lambda: zoo_network(name))()


def explained(name: str, method: str, one: str | Convention, other: str | Convention) -> Explanation:
    uses = METHODS[method].uses
    targets = {"weights": (0.75, "weight"), "acts": (0.7, "activation"), "grads": (0.6, "output")}
    asked = {key: target for key, (target, operand) in targets.items() if uses(operand)}  # type: ignore[arg-type]
    return swatcost.explain(
        network(name), from_convention=one, to_convention=other, method=method, **asked, **everywhere(method)
    )


@pytest.mark.parametrize("name", ["strided", "chain", "cifar_vgg16", "gpt2"])
def test_steps_add_up_to_the_last_digit_and_each_is_an_estimate(name: str) -> None:
    pairs = permutations([each.name for each in conventions_of(network(name))], 2)
    if name == "gpt2":
        pairs = zip(CONVENTIONS.names(), [*CONVENTIONS.names()[7:], *CONVENTIONS.names()[:7]], strict=True)
    pairs = list(pairs)
    methods = METHODS.names() if name != "gpt2" else ["rigl", "swat"]
    for method in (each for each in methods if applies(each, network(name))):
        for one, other in pairs:
            found = explained(name, method, one, other)
            exactly = Fraction(found.end.training_reduction) - Fraction(found.start.training_reduction)
            assert sum(Fraction(step.change) for step in found.steps) == exactly
            assert fsum(step.change for step in found.steps) == found.difference
            switches = [step.switch for step in found.steps]
            assert sorted([*switches, *found.shared]) == sorted(SWITCHES)
            assert switches == [each for each in SWITCHES if each in switches]  # in the order that is stated
            now = CONVENTIONS[one]
            for step in found.steps:
                assert (step.before, step.after) == (
                    getattr(now, step.switch),
                    getattr(CONVENTIONS[other], step.switch),
                )
                now = replace(now, **{step.switch: step.after})
                assert replace(step.convention, name=now.name, per=now.per) == now
            assert found.steps[-1].costs == found.end.costs


@pytest.mark.parametrize("name", ["strided", "cifar_resnet18"])
def test_what_a_step_costs_is_what_an_estimate_under_its_convention_says(name: str) -> None:
    found = explained(name, "dsg", "swat", "rigl-padded")
    for step in found.steps:
        estimate = swatcost.estimate(network(name), method="dsg", grads=0.6, convention=step.convention)
        assert estimate.costs == step.costs


def test_a_chain_by_hand() -> None:
    # 3 → 5 → 2: 15 and 10 MACs a sample in each pass, the second layer half as many with half of its zeros. Under swat
    # all three passes count both layers: 75 dense, 3 · (15 + 5) = 60 sparse. exact leaves out grad_input of the first,
    # 15 of both. Nothing strides, and swat needs no default sparsity.
    found = swatcost.explain(chain(3, 5, 2), weights=0.5, acts=0.5, from_convention="swat", to_convention="exact")
    assert (found.start.costs.training.dense, found.start.costs.training.sparse) == (75, 60)
    assert (found.end.costs.training.dense, found.end.costs.training.sparse) == (60, 45)
    changes = {step.switch: step.change for step in found.steps}
    assert changes.pop("first_grad_input") == pytest.approx((1 - 45 / 60) - (1 - 60 / 75))
    assert changes == {"grad_input_resolution": 0, "grad_weight_sparsity": 0, "first_input": 0}
    assert found.largest is not None
    assert found.largest.switch == "first_grad_input"


def thrice(layer: Layer, density: float) -> float:
    return 3 * EXACT.macs("forward", layer, density)


def test_all_that_formulas_of_ones_own_change_is_one_step() -> None:
    mine = replace(CONVENTIONS["swat"], name="mine", formulas={"grad_input": thrice})
    other = replace(CONVENTIONS["rigl"], name="other", own_density=lambda *given: 0.25)
    there, back = explained("strided", "set", "swat", mine), explained("strided", "set", mine, "swat")
    assert [(step.switch, step.before, step.after) for step in there.steps] == [(FORMULA, "switches", "its own")]
    assert [(step.switch, step.before, step.after) for step in back.steps] == [(FORMULA, "its own", "switches")]
    assert there.difference == -back.difference != 0
    assert "because the mine convention has formulas of its own (" in said(there)
    assert "because the mine convention has formulas of its own (" in said(back)
    # what the formula replaces is no step of its own: grad_input counts at another resolution, but not by a switch
    over = explained("strided", "set", mine, "exact")
    changes = {step.switch: step.change for step in over.steps}
    assert changes["grad_input_resolution"] == changes["first_grad_input"] == 0 != changes[FORMULA]
    assert over.steps[-1].switch == FORMULA
    for pair in ((mine, other), (other, mine), (mine, "rigl"), ("exact", other)):
        found = explained("strided", "set", *pair)
        assert [step.switch for step in found.steps].count(FORMULA) == 1
        assert fsum(step.change for step in found.steps) == found.difference
        assert found.steps[-1].costs == found.end.costs
    assert FORMULA not in [step.switch for step in explained("strided", "set", mine, replace(mine, name="m")).steps]


def said(found: Explanation) -> str:
    return " ".join(render(found, "table", width=80, notes=True).split())


def test_the_answer_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(FROM_SWAT_TO_RIGL) == 0
    assert (  # Table 3 prints 67.2; RigL's appendix H gives 77: 1 − (3 · f_S · 100 + 2 · f_S + f_D) / (3 · 101 · f_D)
        "Training FLOPs down 67.20 % under swat and 77.33 % under rigl, 10.13 points more, mostly because the rigl "
        "convention counts grad_weight for active weights only, where swat assumes that ReLU zeroes 45.90 % of the "
        "activations (+10.40 points)."
    ) in " ".join(capsys.readouterr().out.split())


def test_the_printed_points_add_up_to_the_printed_difference(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (FROM_SWAT_TO_RIGL, [*RIGL, "--to-convention", "exact"], [*RIGL, "--from-convention", "rigl"]):
        assert main(arguments) == 0
        table = capsys.readouterr().out.split("\n\n")[1]
        reductions = [Decimal(each) for each in re.findall(r"(\d+\.\d\d) %", table)]
        *points, total = [
            Decimal(each.replace("−", "-")) for each in re.findall(r"[+−]\d+\.\d\d$", table, re.MULTILINE)
        ]
        assert len(points) == len(reductions) - 2 > 1
        assert sum(points) == total == reductions[-1] - reductions[0]


def test_the_reverse_direction_states_points_less(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RIGL, "--from-convention", "rigl", "--to-convention", "swat"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "10.13 points less, mostly because the swat convention assumes that ReLU zeroes 45.90 % of" in out


def test_switches_that_change_nothing_are_named() -> None:
    found = explained("cifar_resnet18", "swat", "swat", "exact")
    text = said(found)
    assert (
        "without effect on training FLOPs here: what reduces grad_weight, first input in activation reduction (Act ↓)."
        in text
    )
    assert "The same in both: resolution of grad_weight, what reduces forward and grad_input, bias and ReLU," in text
    dense = swatcost.explain(network("chain"), from_convention="swat", to_convention="rigl")
    # 3 passes of 25 weights; under rigl also half a MAC for each of 7 outputs in each, 85.5
    assert "Dense training is 75 MAC per sample under swat, 86 MAC per sample under rigl" in said(dense)
    assert dense.largest is None


def test_csv_and_json_hold_the_steps_unrounded(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*FROM_SWAT_TO_RIGL, "--format", "csv"]) == 0
    first, *rows = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert main([*FROM_SWAT_TO_RIGL, "--format", "json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["schema"], data["from_convention"], data["to_convention"]) == (
        "swatcost.explanation/1",
        "swat",
        "rigl",
    )
    assert [float(row["change"]) for row in rows] == [step["change"] for step in data["steps"]]
    assert fsum(step["change"] for step in data["steps"]) == data["difference"]
    assert data["difference"] == data["training"]["rigl"]["reduction"] - data["training"]["swat"]["reduction"]
    assert float(first["training_reduction"]) == data["training"]["swat"]["reduction"]
    frame = explained("chain", "swat", "swat", "exact").to_frame()
    assert len(frame) == 5  # the start and four steps
    assert frame["change"].isna().sum() == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to-convention", "swat"], "swat is both conventions, so nothing differs: give another to_convention"),
        (["--to-convention", "swt"], "unknown convention 'swt': did you mean swat?"),
        (["--from-convention", "RiGL"], "unknown convention 'RiGL': did you mean rigl"),
        (["--convention", "rigl"], "--convention: an explanation goes from one convention to another"),
        (["--plot", "none/x.png"], "there is no folder none"),
    ],
)
def test_misuse_is_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "cifar_resnet18", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err


def test_two_conventions_of_one_name_are_refused() -> None:
    with pytest.raises(SwatcostError, match="swat is both conventions"):
        swatcost.explain(network("chain"), to_convention=replace(EXACT, name="swat"))


@pytest.mark.parametrize("size", ["screen", "column"])
def test_bars_lead_from_one_reduction_to_the_other(size: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found = explained("strided", "dsg", "swat", "rigl-padded")
    figure = plots.reduction_by_switch(found, size=size)
    (axes,) = figure.axes
    bars = {bars.get_label(): bars.patches[0] for bars in axes.containers}
    assert list(bars) == [step.switch for step in found.steps if step.change]
    reached = 100 * found.start.training_reduction
    for step in found.steps:
        if step.change:
            assert bars[step.switch].get_x() == pytest.approx(reached)
            assert bars[step.switch].get_width() == pytest.approx(100 * step.change)
        reached = 100 * step.costs.training.reduction
    assert reached == 100 * found.end.training_reduction
    ends = [each for each in axes.lines if each.get_label() in ("swat", "rigl-padded")]
    assert [each.get_xdata()[0] for each in ends] == [
        100 * found.start.training_reduction, 100 * found.end.training_reduction,
    ]  # fmt: skip
    plots.save(figure, tmp_path / "p.png")
    assert (tmp_path / "p.png").stat().st_size > 10_000


def test_the_command_draws_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    drawn = tmp_path / "p.svg"
    assert main(["explain", "cifar_resnet18", "--weights", "0.8", "--plot", str(drawn)]) == 0
    assert "cifar_resnet18: from swat to exact, switch by switch" in drawn.read_text()
    assert main(["explain", "cifar_resnet18", "--plot", str(drawn)]) == 0  # nothing to draw but the two
