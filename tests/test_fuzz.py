"""The fuzz itself finds nothing in its first cases, and finds what is wrong when something is."""

from __future__ import annotations

import time

import pytest

from benchmarks import fuzz_networks
from benchmarks.fuzz import TooLongError, limited


def test_random_networks_are_counted_as_torch_counts() -> None:
    assert [found for seed in range(25) if (found := fuzz_networks.check(seed))] == []


def test_a_wrong_count_is_shown_on_the_shortest_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(
        fuzz_networks._MENDED, fuzz_networks.aten.convolution_backward
    )  # torch's own formula forgets the groups of a convolution
    failure = next(found for seed in range(300) if (found := fuzz_networks.check(seed)))
    last = failure.splitlines()[-2]
    assert "convolution" in last or "block" in last


def test_a_case_has_a_time_limit() -> None:
    with pytest.raises(TooLongError, match="longer than 1 s"), limited(1):
        time.sleep(5)
