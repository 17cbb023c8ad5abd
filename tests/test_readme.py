"""What README shows is what the program prints."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

import pytest

from swatcost.cli import main

from .cases import CASES

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
CONSOLE = [text for language, text in BLOCKS if language == "console"]
PYTHON = [text for language, text in BLOCKS if language == "python"]


def test_readme_shows_both() -> None:
    assert CONSOLE
    assert PYTHON


@pytest.mark.parametrize("block", CONSOLE)
def test_commands_print_what_is_shown(
    block: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for session in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, shown = session.partition("\n")
        program, *args = shlex.split(command)
        assert program == "swatcost"
        assert main(args) == 0
        printed = capsys.readouterr().out
        if shown.endswith("…\n"):
            assert printed.startswith(shown.removesuffix("…\n"))
        else:
            assert printed == shown


def test_the_table_of_cases_is_of_the_tested_ones() -> None:
    """The columns `by hand` and `swatcost`; those of other counters are what they were when the table was made."""
    rows = [line.strip("| ").split(" | ") for line in README.read_text(encoding="utf-8").splitlines() if "|" in line]
    for pass_, numbers in (("forward", lambda case: case.forward), ("backward", lambda case: case.backward)):
        start = next(place for place, row in enumerate(rows) if row[:3] == [pass_, "by hand", "swatcost"]) + 2
        shown = [row[:3] for row in rows[start : start + len(CASES)]]
        assert shown == [[case.title, f"{numbers(case):,}", f"{numbers(case):,}"] for case in CASES]


def test_python_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    examples = doctest.DocTestParser().get_doctest("\n".join(PYTHON), {}, "README.md", str(README), 0)
    assert examples.examples
    assert doctest.DocTestRunner().run(examples).failed == 0
