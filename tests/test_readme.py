"""What README and the documentation show is what the program prints."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

from benchmarks.cases import between_marks, shortened

from .cases import CASES
from .documents import ROOT, Document, anew, documents, run, sessions, shows

README = Document(ROOT / "README.md")
DOCUMENTS = documents()
CONSOLE = [
    pytest.param(each, block, id=f"{each.name}-{number}")
    for each in DOCUMENTS
    for number, block in enumerate(each.console)
]
PYTHON = [pytest.param(each, id=each.name) for each in DOCUMENTS if each.python]


def test_readme_shows_both() -> None:
    assert README.console
    assert README.python


@pytest.mark.parametrize(("document", "block"), CONSOLE)
def test_commands_print_what_is_shown(
    document: Document, block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    document.write_files(tmp_path)
    for session in sessions(block):
        code, printed = run(session.command)
        assert code == session.code
        if not shows(session.shown, printed):
            assert printed == session.shown


def test_the_table_of_cases_is_of_the_tested_ones() -> None:
    """The columns `by hand` and `swatcost`; those of other counters are what they were when the table was made."""
    page = Document(ROOT / "docs" / "cases.md")
    rows = [line.strip("| ").split(" | ") for line in page.text.splitlines() if "|" in line]
    for pass_, numbers in (("forward", lambda case: case.forward), ("backward", lambda case: case.backward)):
        start = next(place for place, row in enumerate(rows) if row[:3] == [pass_, "by hand", "swatcost"]) + 2
        shown = [row[:3] for row in rows[start : start + len(CASES)]]
        assert shown == [[case.title, f"{numbers(case):,}", f"{numbers(case):,}"] for case in CASES]


def test_the_readmes_table_is_the_part_of_it_in_which_torchs_counter_is_wrong() -> None:
    assert between_marks(README.text) == shortened(between_marks((ROOT / "docs" / "cases.md").read_text()))


def test_the_readme_is_a_first_page() -> None:
    assert len(README.text.splitlines()) <= 150


@pytest.mark.parametrize("document", PYTHON)
def test_python_examples_run(document: Document, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    document.write_files(tmp_path)
    examples = doctest.DocTestParser().get_doctest("\n".join(document.python), {}, document.name, str(document.path), 0)
    assert examples.examples
    assert doctest.DocTestRunner().run(examples).failed == 0


def test_a_gap_stands_for_lines_and_for_nothing_else() -> None:
    printed = "a\nb\nc\nd\n"
    assert all(shows(each, printed) for each in (printed, "a\n…\n", "…\nd\n", "a\n…\nd\n", "a\nb\n…\nc\nd\n"))
    assert not any(shows(each, printed) for each in ("a\nd\n", "a\n", "a\n…\nc\n", "a\n…\ne\n…\n", "d\n…\n", "a\n…\nb"))


def test_output_is_shown_anew_in_the_same_parts() -> None:
    printed = "a 2\nb\nc\nd 2\ne\n"
    assert anew("a\nb\n", printed) == printed
    assert anew("a\n…\nc\nd\n…\n", printed) == "a 2\n…\nc\nd 2\n…\n"
    assert anew("a\n…\ngone\n…\n", printed) == "a 2\n…\ngone\n…\n"


def test_a_failing_command_shows_its_code() -> None:
    assert [each.code for each in sessions("$ swatcost a\nx\n$ echo $?\n1\n$ swatcost b\n")] == [1, 0]
