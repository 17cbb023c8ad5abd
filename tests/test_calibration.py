"""Device profiles: fits, rates, data sheets, calibration, and A.4's ideas in an estimate."""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import swatcost
from swatcost.cli import main
from swatcost.common.errors import SwatcostError
from swatcost.devices import Device, Rates, SelectionTime, device_names, load_device, to_toml
from swatcost.devices.fits import fitted
from swatcost.network import Network
from swatcost.timing.selection import selected

positive = st.floats(1e-3, 1e3)


@given(positive, positive, st.lists(st.tuples(positive, positive), min_size=3, max_size=6, unique=True))
def test_a_fit_finds_the_line_that_points_lie_on(a: float, b: float, xs: list[tuple[float, float]]) -> None:
    fit = fitted(xs, [a * x1 + b * x2 for x1, x2 in xs])
    assert fit.worst_residual < 1e-4


@given(st.lists(st.tuples(positive, positive, positive), min_size=4, max_size=9, unique=True), st.randoms())
def test_a_fit_of_three_is_no_worse_than_any_other(xs: list[tuple[float, ...]], random: Random) -> None:
    ys = [random.uniform(0.1, 10) for _ in xs]
    fit = fitted(xs, ys)
    assert min(fit.coefficients) >= 0

    def error(coefficients: Sequence[float]) -> float:
        return sum((1 - sum(c * x for c, x in zip(coefficients, each, strict=True)) / y) ** 2
                   for each, y in zip(xs, ys, strict=True))  # fmt: skip

    for _ in range(20):
        other = [max(0, each * random.uniform(0.5, 1.5) + random.choice([0, 0, 1e-3])) for each in fit.coefficients]
        assert error(fit.coefficients) <= error(other) * (1 + 1e-6) + 1e-9


def test_a_fit_is_never_negative_and_says_how_far_off_it_is() -> None:
    # the line through (1, 2) and (2, 1) falls; without the slope 2 · c − c² … c = Σ 1/y / Σ 1/y² = 1.5 / 1.25
    fit = fitted([(1, 1), (1, 2)], [2, 1])
    assert fit.coefficients == (pytest.approx(1.2), 0)
    assert fit.residuals == (pytest.approx(2 / 1.2 - 1), pytest.approx(1 / 1.2 - 1))


def test_rates_time_networks_that_were_not_measured(resnet50: Network) -> None:
    rates = Rates(macs_per_second=1e12, bytes_per_second=1e11)
    device = dataclasses.replace(load_device("rtx2080ti"), dense_steps=(), rates=rates, precisions=())
    estimate = swatcost.estimate(resnet50, device=device, batch_size=4)
    made = [event - 1 for event in resnet50.timeline.events if event > 0]
    traffic = 2 * sum(resnet50.storage_bytes(storage, 4) for storage in made)
    assert estimate.dense_step.seconds == pytest.approx(4 * 12_149_538_816 / 1e12 + traffic / 1e11)
    sheet = swatcost.estimate(resnet50, device=dataclasses.replace(device, measured=False), batch_size=4)
    assert sheet.dense_step.seconds == pytest.approx(max(4 * 12_149_538_816 / 1e12, traffic / 1e11))
    assert "NOT MEASURED" in " ".join(sheet.assumptions)


@pytest.mark.parametrize("name", device_names())
def test_shipped_profiles_can_be_used(name: str, resnet50: Network, tmp_path: Path) -> None:
    device = load_device(name)
    assert device.name == name
    estimate = swatcost.estimate(resnet50, weights=0.8, acts=0.8, device=name)
    assert 0 < estimate.speedup < estimate.speedup_limit
    if not device.measured:
        assert "data sheet" in device.source or "specifications" in device.source
        assert "NOT MEASURED" in repr(estimate)
    path = tmp_path / "copy.toml"
    path.write_text(to_toml(device))
    assert load_device(path) == device


TIMED = SelectionTime(algorithm="radix", fixed=1e-6, per_element=2e-9, smallest=1000, largest=10**6, worst_residual=0.1)


def test_selections_add_up_over_arrays(resnet50: Network) -> None:
    device = dataclasses.replace(load_device("rtx2080ti"), selections=(TIMED,))
    estimate = swatcost.estimate(resnet50, weights=0.8, acts=0.8, device=device, selection="radix", batch_size=8)
    # 53 weights of 25,493,504 elements and 53 inputs of 10,513,920 a sample are selected from
    expected = 106 * 1e-6 + (25_493_504 + 8 * 10_513_920) * 2e-9
    assert estimate.topk_seconds == pytest.approx(expected)
    assert "EXTRAPOLATED" in repr(estimate)
    sorting = dataclasses.replace(TIMED, growth="n log n")
    assert sorting.seconds(1024) == pytest.approx(1e-6 + 1024 * 10 * 2e-9)
    with pytest.raises(SwatcostError, match="not timed on"):
        swatcost.estimate(resnet50, weights=0.8, selection="sort")


def test_the_algorithm_of_a_devices_own_topk_can_be_named(resnet50: Network) -> None:
    own, named = (swatcost.estimate(resnet50, weights=0.8, acts=0.8, selection=each) for each in (None, "radix"))
    # Table 10's radix Top-K: 18 ms for the weights, 452 ms for the activations of 32 samples
    assert own.topk_seconds == named.topk_seconds == pytest.approx(0.018 + 0.452)
    assert "Thresholds by radix, the algorithm that was timed on rtx2080ti." in named.assumptions
    device = load_device("rtx2080ti")
    assert device.algorithms == ["radix"]
    assert dataclasses.replace(device, selections=(TIMED,)).algorithms == ["radix"]


def test_selecting_on_one_sample_takes_one_over_batch_size_of_the_time(resnet50: Network) -> None:
    """Table 10: 18 ms for weights and 452 ms for the activations of 32 samples."""
    estimate = swatcost.estimate(resnet50, weights=0.8, acts=0.8, one_sample=True)
    assert estimate.topk_seconds == pytest.approx(0.018 + 0.452 / 32)
    assert list(estimate.topk_seconds_by_idea) == ["as measured", "one sample"]


def test_a_hidden_selection_costs_what_the_period_does_not_cover(resnet50: Network) -> None:
    plain = swatcost.estimate(resnet50, weights=0.8, acts=0.8)
    sparse_step = 0.147 * (1 - plain.training_reduction)
    for period in (1, 5, 13, 14, 1000):
        hidden = swatcost.estimate(resnet50, weights=0.8, acts=0.8, hidden=True, period=period)
        exposed = max(0.0, 0.470 - period * sparse_step)
        assert hidden.topk_seconds_by_idea["hidden"] == pytest.approx(exposed)
        assert hidden.speedup == pytest.approx(period * 0.147 / (period * sparse_step + exposed))
    # 0.470 / 0.147 = 3.2: with four dense steps' time a hidden selection is paid for
    assert hidden.break_even_period == 4
    assert hidden.speedup == pytest.approx(hidden.speedup_limit)


def test_a_sweep_is_many_estimates(resnet50: Network) -> None:
    frame = swatcost.sweep(
        resnet50, weights=[0.5, 0.8], acts=0.8, period=[1, 4, 100], one_sample=True, hidden=True, batch_size=16
    )
    for row in frame.itertuples():
        single = swatcost.estimate(
            resnet50, weights=row.weights, acts=0.8, period=int(row.period), one_sample=True, hidden=True, batch_size=16
        )
        assert row.speedup == pytest.approx(single.speedup)
        assert row.break_even_period == single.break_even_period


BROKEN = {
    'name = "x"': "missing required field",
    "[topk": "not a usable device profile",
    'name = "x"\ntitle = ""\nsource = ""\n[topk.weights]\nseconds = 1\nelements = 1\n[topk.activations]\nseconds = 1\n'
    "elements = 1": "neither dense_steps nor operations",
}


@pytest.mark.parametrize(("text", "message"), BROKEN.items())
def test_a_damaged_profile_is_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(SwatcostError, match=message):
        load_device(tmp_path / "mine.toml")


def test_calibrate_writes_a_profile_that_estimates_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tomli_w")
    from swatcost.reference import calibration
    from swatcost.reference.measurements import Sizes

    tiny = Sizes(shapes=(), streams=(), kernels=(), selections=(1000, 3000, 10_000), copied=2**20)
    monkeypatch.setattr(calibration, "Sizes", lambda: tiny)
    monkeypatch.setattr("swatcost.reference.quiet.DISTURBED", float("inf"))  # by other tests
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(
        "from torch import nn\n"
        "def wide():\n    return nn.Sequential(nn.Flatten(), nn.Linear(192, 512), nn.ReLU(), nn.Linear(512, 10))\n"
        "def conv():\n    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 10))\n"
        "class Images(nn.Sequential):\n    default_cfg = {'input_size': (3, 8, 8)}\n"
        "def a():\n    return Images(*wide())\n"
        "def b():\n    return Images(*conv())\n"
    )
    words = ["calibrate", "--network", "nets.py:a", "--network", "nets.py:b", "--unseen", "nets.py:b"]
    assert main([*words, "--no-instructions", "--output", "mine.toml", "--batch-size", "4"]) == 0
    out, err = capsys.readouterr()
    # two dense steps twice, peaks, seven algorithms, masking, Top-K, steps of two networks: 4 + 1 + 7 + 1 + 1 + 2
    assert err.startswith("swatcost: 16 measurements on cpu, about ")
    assert "profile to mine.toml" in err.splitlines()[0]
    for quantity in ("dense step", "one Top-K", "SWAT step"):
        assert quantity in out
    profile = tomllib.loads((tmp_path / "mine.toml").read_text())
    assert [step["network"] for step in profile["dense_steps"]] == ["nets.py:a", "nets.py:b"]
    device = load_device(tmp_path / "mine.toml")
    assert isinstance(device, Device)
    estimate = swatcost.estimate("nets.py:a", weights=0.8, acts=0.8, device=device, batch_size=4)
    assert estimate.dense_step.same_network
    assert estimate.masked_step_seconds is not None
    weights, activations = selected(estimate.network, estimate.plan)
    sizes = [size for size, sparse in weights if sparse] + [4 * size for size, sparse in activations if sparse]
    assert device.masking is not None
    expected = estimate.dense_step.seconds + estimate.topk_seconds / 1000
    expected += sum(device.masking.fixed + size * device.masking.per_element for size in sizes)
    assert math.isclose(estimate.masked_step_seconds, expected)
    assert (
        main(["nets.py:a", "--weights", "0.8", "--device", "mine.toml", "--selection", "sort", "--format", "json"]) == 0
    )
    assert "sort" in json.loads(capsys.readouterr().out)["totals"]["topk_seconds_by_idea"]
    assert main(["calibrate", "--output", "mine.txt"]) == 2
    assert "a profile is a .toml file" in capsys.readouterr().err
