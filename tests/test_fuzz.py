"""The fuzz itself finds nothing in its first cases, and finds what is wrong when something is."""

from __future__ import annotations

import contextlib
import resource
import time
from pathlib import Path

import click
import pytest

from benchmarks import fuzz_commands, fuzz_networks
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


def test_random_command_lines_end_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWATCOST_CACHE_DIR", "")
    fuzz_commands.prepare()
    assert [found for seed in range(40) if (found := fuzz_commands.check(seed))] == []


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("numbers")
    with contextlib.chdir(folder):
        fuzz_commands.prepare()
    return folder


@pytest.mark.parametrize(
    ("name", "option"),
    [pytest.param(*each, id=f"{each[0]} {each[1].opts[-1]}") for each in fuzz_commands.number_options()],
)
def test_every_number_is_taken_or_refused(
    name: str, option: click.Option, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(prepared)
    monkeypatch.setenv("SWATCOST_CACHE_DIR", "")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for value in fuzz_commands.NUMBERS:
        for words in fuzz_commands.lines_with(name, option, value):
            with fuzz_commands.without_long_work(), limited(10):
                assert fuzz_commands.wrong(words) is None, words
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB


def test_a_traceback_of_a_command_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("swatcost.cli.cli.main", lambda *_, **__: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        fuzz_commands.check(0)


def test_a_case_has_a_time_limit() -> None:
    with pytest.raises(TooLongError, match="longer than 1 s"), limited(1):
        time.sleep(5)
