"""Random input, for as long as it is asked: `make fuzz`, or `make fuzz ARGS="--seconds 3600 --seed 7"`.

Each subject is a file of its own, which runs alone with the same options and repeats one case with `--case`. A subject
that crashes takes only its own process with it.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import itertools
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

SUBJECTS = ("networks", "commands", "files")
CASE_SECONDS = 60  # that a case may take
_STRIDE = 10_000_000  # between the first cases of two seeds
_SHOWN = 5  # failures; the others are only numbered


class TooLongError(Exception):
    """A case took longer than a case may."""


@contextlib.contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raises TooLongError where the block takes longer."""

    def ring(*_: object) -> None:
        raise TooLongError(f"takes longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def fuzz(subject: str, check: Callable[[int], str | None]) -> int:
    """Checks cases until the time is over; returns the exit code. `check` returns what failed, or None."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.fuzz_{subject}")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="check this case only")
    parser.add_argument("--last", type=Path, help="a file that holds the case in hand, for the case of a crash")
    chosen = parser.parse_args()
    faulthandler.enable()
    first = chosen.seed * _STRIDE
    cases = itertools.count(first) if chosen.case is None else iter([chosen.case])
    failed: list[int] = []
    checked, end = 0, time.monotonic() + chosen.seconds
    for case in cases:
        if chosen.case is None and time.monotonic() >= end:
            break
        if chosen.last:
            chosen.last.write_text(str(case))
        try:
            with limited(CASE_SECONDS):
                found = check(case)
        except Exception:
            found = traceback.format_exc()
        checked += 1
        if found:
            failed.append(case)
            if len(failed) <= _SHOWN:
                print(f"{found}\nAgain: python -m benchmarks.fuzz_{subject} --case {case}\n", flush=True)
    print(
        f"{subject}: {checked:,} cases, {len(failed)} failed{': ' if failed else ''}{', '.join(map(str, failed[:50]))}"
    )
    return 1 if failed else 0


def main() -> int:
    """Runs every subject for its share of the time; returns 1 if a case of any failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz")
    parser.add_argument("--seconds", type=float, default=30, help="of all subjects together")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    subjects = [each for each in SUBJECTS if find_spec(f"benchmarks.fuzz_{each}")]
    codes = []
    with TemporaryDirectory() as folder:
        for subject in subjects:
            last = Path(folder) / subject
            options = ["--seconds", str(chosen.seconds / len(subjects)), "--seed", str(chosen.seed)]
            told = [] if subject == "files" else ["--last", str(last)]
            codes.append(
                subprocess.run([sys.executable, "-m", f"benchmarks.fuzz_{subject}", *options, *told]).returncode
            )
            if codes[-1] not in (0, 1):
                case = last.read_text() if last.exists() else "unknown"
                print(f"{subject}: ended with exit code {codes[-1]} in case {case}")
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())
