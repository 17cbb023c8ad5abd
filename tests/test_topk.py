"""Eqs. 7 and 8 with the paper's numbers, and device profiles as data."""

from __future__ import annotations

from pathlib import Path

import pytest

import swatcost
from swatcost.devices import device_names, load_device
from swatcost.timing.topk import break_even_period, speedup, speedup_limit


@pytest.mark.parametrize(("reduction", "printed"), [(0.761, 4.13), (0.856, 6.79)])
def test_equations_7_and_8(reduction: float, printed: float) -> None:
    # 1000 · 147 / (999 · (1 − r) · 147 + 147 · (1 − r) + 470)
    by_hand = 1000 * 147 / (999 * (1 - reduction) * 147 + 147 * (1 - reduction) + 470)
    found = speedup(dense_step_seconds=0.147, training_reduction=reduction, topk_seconds=0.470, period=1000)
    assert found == pytest.approx(by_hand, rel=1e-12)
    assert round(found, 2) == printed


def test_limit_and_break_even() -> None:
    assert speedup_limit(0.8) == pytest.approx(5)
    # a step saves 0.8 · 10 = 8, so 16 take exactly two steps and 17 take three
    assert break_even_period(dense_step_seconds=10, training_reduction=0.8, topk_seconds=16) == 2
    assert break_even_period(dense_step_seconds=10, training_reduction=0.8, topk_seconds=17) == 3
    assert break_even_period(dense_step_seconds=10, training_reduction=0, topk_seconds=17) is None
    assert break_even_period(dense_step_seconds=10, training_reduction=0, topk_seconds=0) == 1


def test_table_10_in_the_profile() -> None:
    device = load_device("rtx2080ti")
    assert device.topk.weights.seconds == 0.018
    assert device.topk.activations.seconds == 0.452
    assert device.dense_steps[0].seconds == 0.147
    # 18 ms / 25,493,504 and 452 ms / (32 · 10,513,920)
    assert device.topk.weights.per_element == pytest.approx(0.706e-9, abs=0.0005e-9)
    assert device.topk.activations.per_element == pytest.approx(1.343e-9, abs=0.0005e-9)


PROFILE = (Path(swatcost.__file__).parent / "devices" / "rtx2080ti.toml").read_text()


def test_shipped_profiles_are_named_after_their_files() -> None:
    assert all(load_device(name).name == name for name in device_names())


def test_a_profile_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(PROFILE.replace("0.147", "0.0735"))
    assert swatcost.estimate("resnet50", device=str(path)).dense_step.seconds == 0.0735


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PROFILE.replace("0.018", "-1"), "not a usable device profile"),
        (PROFILE.replace("0.018", "nan"), "not a usable device profile"),
        (PROFILE.replace("0.018", "inf"), "not a usable device profile"),
        (PROFILE.replace("25_493_504", "0"), "not a usable device profile"),
        (PROFILE.replace("[[dense_steps]]", "[dense_step]"), "not a usable device profile"),
        (PROFILE[:60], "not a usable device profile"),
        ("= broken", "not a usable device profile"),
        ("a = " + "[" * 100_000, "not a usable device profile"),
        ("a = " + "9" * 10_000, "not a usable device profile"),
        (PROFILE.replace("25_493_504", "9" * 400), "not a usable device profile"),
        (PROFILE.replace("0.018", "5e-324"), "not a usable device profile"),
    ],
)
def test_a_damaged_profile_is_named_as_such(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(swatcost.SwatcostError, match=message):
        load_device(str(path))


def test_a_missing_profile_is_named(tmp_path: Path) -> None:
    with pytest.raises(swatcost.SwatcostError, match=r"cannot read .*none\.toml"):
        load_device(str(tmp_path / "none.toml"))
