"""What `make mutants` says of a mutant: only one for which a test failed is killed."""

from __future__ import annotations

import signal

import pytest

pytest.importorskip("cosmic_ray")

from benchmarks.mutants import Mutant, end_of, report


def test_only_a_failed_test_kills() -> None:
    """A process's status is its exit code times 256, or the signal that ended it."""
    codes = pytest.ExitCode
    assert end_of(codes.OK << 8) == "survived"
    assert end_of(codes.TESTS_FAILED << 8) == "killed"
    for code in (codes.INTERRUPTED, codes.INTERNAL_ERROR, codes.USAGE_ERROR, codes.NO_TESTS_COLLECTED):
        assert end_of(code << 8) == "crashed"  # such as where the mutant cannot be imported
    assert end_of(signal.SIGALRM) == "timed out"
    assert end_of(signal.SIGKILL) == "crashed"


def test_each_end_has_its_column() -> None:
    ends = ["killed", "killed", "timed out", "crashed", "survived"]
    found = [(Mutant("swatcost/a.py", "a = 1\n", f"a = {place}\n"), end) for place, end in enumerate(ends, 2)]
    text = report(found, seed=5)
    assert "5 mutants, seed 5. 2 are killed (40.0 %): a test fails" in text
    assert "1 time out after a minute and 1 crash" in text
    assert "| module | mutants | killed | timed out | crashed |\n| --- | ---: | ---: | ---: | ---: |\n" in text
    assert "| `swatcost/a.py` | 5 | 2 | 1 | 1 |\n" in text
    assert "| `swatcost/a.py:1` | `a = 1` | `a = 6` | ? |" in text
