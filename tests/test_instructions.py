"""Table 9 for this machine: instructions of numpy.partition."""

from __future__ import annotations

import shutil

import pytest

from swatcost.reference import instructions
from swatcost.reference.instructions import partition_instructions


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="needs valgrind, whatever the processor counts")
def test_introselect_takes_5_to_60_instructions_per_element() -> None:
    """Table 9: 21.8 at 10,000 elements and 13.8 at 100,000; for another rank, another compiler, another machine."""
    found = partition_instructions([10_000, 100_000], simd=False)
    assert [each.elements for each in found] == [10_000, 100_000]
    assert all(5 < each.per_element < 60 for each in found)
    assert {each.dispatch for each in found} == {"introselect"}


def test_without_a_counter_there_are_no_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    found = partition_instructions([1000], simd=True)
    assert not found or found[0].counter == "the processor"


def test_a_failing_child_process_returns_no_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instructions, "_CHILD", "raise SystemExit(1)")
    assert partition_instructions([1000], simd=True) == []


def test_vector_paths_that_stay_on_are_not_called_introselect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instructions, "_vector_paths", lambda tool=(): "")
    assert {each.dispatch for each in partition_instructions([1000], simd=False)} <= {"introselect"}
    found = {"paths": [], "dispatch": "X86_V4", "counts": {"1000": 9000.0}, "processes": {}}
    monkeypatch.setattr(instructions, "_child", lambda sizes, how, tool, off: (found, ""))
    assert partition_instructions([1000], simd=False) == []
    assert [each.dispatch for each in partition_instructions([1000], simd=True)] == ["X86_V4"]


def test_a_counter_stuck_at_zero_returns_no_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"paths": [], "dispatch": "introselect", "counts": {"1000": 0.0}, "processes": {}}
    monkeypatch.setattr(instructions, "_child", lambda sizes, how, tool, off: (found, ""))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert partition_instructions([1000], simd=True) == []
