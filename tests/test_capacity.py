"""What fits in a memory, found by bisection, against looking at every candidate."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swatcost.cli import main
from swatcost.common.errors import SwatcostError
from swatcost.memory.dense_step import training_memory
from swatcost.memory.execution import Execution
from swatcost.planning import memory_of
from swatcost.planning.capacity import capacity_of, largest_batch, moving_seconds, needed_sparsity, rate_of, view_of

from .by_hand import chain, plan_of

NETWORK = chain(8, 64, 64, 64, 4)
BATCH = 1024


@settings(deadline=None)
@given(st.integers(0, 30), st.integers(1, 9), st.integers(0, 2000))
def test_the_largest_batch_is_the_last_that_fits(fixed: int, per_sample: int, capacity: int) -> None:
    found = largest_batch(lambda samples: fixed + per_sample * samples, capacity)
    assert found == max((capacity - fixed) // per_sample, 0)
    assert isinstance(found, int)


def test_the_search_for_samples_ends() -> None:
    assert largest_batch(lambda samples: 0, 1) == 2**40 - 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("11GB", 11 * 10**9), ("24 GiB", 24 * 2**30), ("1000000", 10**6), ("2000000", 2 * 10**6), ("512 B", 512),
        ("2.5kB", 2500), ("rtx2080ti", 11 * 2**30), ("v100", 32 * 10**9),
    ],
)  # fmt: skip
def test_amounts_and_devices(text: str, expected: int) -> None:
    assert capacity_of(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1.5", "'1.5' means 1.5 bytes: give a unit, such as 1.5GB"),
        ("11", "'11' means 11 bytes: give a unit, such as 11GB"),
        (" 999999 ", "such as 999999GB"),
        ("x" * 60, f"'{'x' * 39} is not a memory size"),
        ("bit-tactical", "is not a memory size"),
        ("none.toml", "none.toml"),
    ],
)
def test_what_is_not_a_capacity_is_refused(text: str, message: str) -> None:
    with pytest.raises(SwatcostError, match=message):
        capacity_of(text)


@pytest.mark.parametrize(
    ("link", "expected"), [("25GB", 25e9), ("1 GiB", 2.0**30), ("16000000000", 16e9), (2.5e9, 2.5e9), (16, 16.0)]
)
def test_rates(link: str | float, expected: float) -> None:
    assert rate_of(link) == expected


@pytest.mark.parametrize("link", ["16", "1.5", "0GB", "25GB/s", "fast", ""])
def test_what_is_not_a_rate_is_refused(link: str, capsys: pytest.CaptureFixture[str]) -> None:
    """16 would be bytes per second, with which a run takes millions of days."""
    said = f"link '{link}': give bytes per second with a unit, such as 25GB"
    with pytest.raises(SwatcostError, match=said):
        rate_of(link)
    for command in ("plan", "memory"):
        assert main([command, "resnet50", "--link", link]) == 2
        assert capsys.readouterr() == ("", f"swatcost: {said}\n")


@pytest.mark.parametrize("link", [0, -1.0, float("nan"), float("inf"), True, [], b"25GB"])
def test_a_rate_is_a_positive_number(link: float) -> None:
    with pytest.raises(SwatcostError, match="give bytes per second, such as 25e9"):
        rate_of(link)


def test_ways_to_fit_more_can_be_taken() -> None:
    """Sparse weights are modelled where each GPU holds everything, so that sharding is no way for them."""
    dense = memory_of("cifar_resnet18", precision="amp", optimizer="adamw", fit="500MB")
    sparse = memory_of("cifar_resnet18", precision="amp", optimizer="adamw", fit="500MB", weights=0.5, acts=0.5)
    assert [each.kind for each in dense.ways] == ["checkpointing", "sharding", "sparsity"]
    assert [each.kind for each in sparse.ways] == ["checkpointing"]


def test_a_device_that_does_not_say_its_memory(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    profile = files("swatcost.devices").joinpath("v100.toml").read_text()
    path.write_text(profile.replace("memory_bytes", "# memory_bytes"))
    with pytest.raises(SwatcostError, match=r"own.toml gives no memory size: give an amount, such as 11GB"):
        capacity_of(str(path))


def test_the_view_is_of_the_step_that_was_asked_for() -> None:
    plan = plan_of(NETWORK, [0.5] * 4)
    view = view_of(NETWORK, plan, 7, Execution.of(optimizer="adam", precision="mixed"))
    assert view.dense == training_memory(NETWORK, batch_size=7, optimizer="adam", precision="mixed")
    assert view.kept[1].sparsity == 0.5


def peak_at(sparsity: float, weights: float = 0.5) -> int:
    """With the first layer dense, 1024 samples and momentum."""
    plan = plan_of(NETWORK, [0.0, *[(weights, sparsity)] * 3])
    return view_of(NETWORK, plan, BATCH, Execution.of()).compressed_peak


@pytest.mark.parametrize("weights", [0.5, 0.9])
@pytest.mark.parametrize("wanted", [0.6, 0.75, 0.9, 0.99])
def test_the_needed_sparsity_is_the_least_that_fits(wanted: float, weights: float) -> None:
    """To a thousandth; the layers that the plan makes sparse get it in place of their own, and no others."""
    capacity = peak_at(wanted, weights)
    dense = training_memory(NETWORK, batch_size=BATCH).peak.bytes
    assert capacity < dense
    for acts in (0.0, 0.2):
        plan = plan_of(NETWORK, [0.0, *[(weights, acts)] * 3])
        needed = needed_sparsity(NETWORK, plan, BATCH, Execution.of(), capacity)
        assert needed is not None
        assert needed - 0.001 <= wanted <= needed + 0.0001
        assert peak_at(needed, weights) <= capacity < peak_at(needed - 0.001, weights)


def test_the_ends_of_what_is_needed() -> None:
    plan = plan_of(NETWORK, [0.0, 0.5, 0.5, 0.5])
    dense = training_memory(NETWORK, batch_size=BATCH).peak.bytes
    most = peak_at(0.999)

    def needed(capacity: int) -> float | None:
        return needed_sparsity(NETWORK, plan, BATCH, Execution.of(), capacity)

    assert needed(dense) == needed(dense + 1) == 0.0
    assert needed(dense - 1) != 0.0
    assert needed(most) is not None
    assert needed(most - 1) is None


def test_outputs_stay_as_sparse_as_they_are() -> None:
    plan = plan_of(NETWORK, [0.5] * 4)
    layers = tuple(replace(each, weight=0.0, activation=0.0, output=0.5) for each in plan.layers)
    capacity = view_of(NETWORK, plan_of(NETWORK, [(0.0, 0.9)] * 4), BATCH, Execution.of()).compressed_peak
    needed = needed_sparsity(NETWORK, replace(plan, layers=layers), BATCH, Execution.of(), capacity)
    assert needed == pytest.approx(0.9, abs=0.001)


def test_moving_out_and_in_again() -> None:
    assert moving_seconds(8_000_000_000, 16e9) == 1.0
    assert moving_seconds(1, 4.0) == 0.5
