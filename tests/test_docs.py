"""The built documentation: pages generated from data, published numbers come out, nothing is loaded from a network."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path

import click
import pytest

from docs.build import loaded_from_network
from docs.making import api, choices, commands, methods, settings
from docs.making.markdown import table
from swatcost.cli import COMMANDS, command_named
from swatcost.counting.conventions import CONVENTIONS, EXACT
from swatcost.counting.language_conventions import LANGUAGE_CONVENTIONS
from swatcost.counting.switches import SWITCHES
from swatcost.devices import device_names
from swatcost.distributions import DISTRIBUTIONS
from swatcost.methods import METHODS
from swatcost.planning.conventions import differing
from swatcost.setting import OPTIONS, option_name

from .documents import ROOT, Document, documents

PAGES = {**methods.pages(), **choices.pages(), **commands.pages(), **settings.pages(), **api.pages()}

PER_SAMPLE = ("swat", "equations", "exact", "rigl", "rigl-padded")  # of networks without attention


def rows_of(page: str) -> dict[str, list[str]]:
    """The cells of every table's rows by their first word, code and links apart; of two rows, the first."""
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    return {re.sub(r"[`\[\]]|\(.*\)", "", first): rest for first, *rest in reversed(rows)}


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_has_its_page(name: str) -> None:
    page = PAGES[f"methods/{name}.md"]
    assert METHODS[name].citation in page
    assert METHODS[name].departures in page
    assert set(PER_SAMPLE) <= set(rows_of(page))
    assert f"[{name}]({name}.md)" in PAGES["methods/index.md"]


def test_worked_numbers_are_the_published_ones() -> None:
    """SWAT, Table 3 at 90 %: 85.6 in training, 87.4 at inference; Eq. 8 rounds the first and gives 6.79×."""
    found = rows_of(PAGES["methods/swat.md"])
    *_, training, inference, speedup = found["swat"]
    assert (f"{float(training.removesuffix(' %')):.1f}", f"{float(inference.removesuffix(' %')):.1f}") == (
        "85.6",
        "87.4",
    )
    assert float(speedup.removesuffix("×")) == pytest.approx(6.79, abs=0.03)
    assert [found[name][3] for name in ("equations", "exact")] == ["84.35 %", "88.25 %"]  # as README's table has it


def test_dense_training_saves_nothing() -> None:
    found = rows_of(PAGES["methods/dense.md"])
    assert all(found[name] == ["0.00 %"] * 5 + ["1.00×"] for name in PER_SAMPLE)


def test_remaining_shares_and_the_reduction_add_up_to_100_percent() -> None:
    for name, (_, less, _, *left) in rows_of(PAGES["generated/convention-numbers.md"]).items():
        if name in CONVENTIONS.names():
            remaining = sum(float(each.removesuffix(" %")) for each in left)
            assert remaining + float(less.removesuffix(" %")) == pytest.approx(100, abs=0.02)


def test_every_choice_is_in_its_table() -> None:
    assert set(DISTRIBUTIONS.names()) <= set(re.findall(r"`(\w+) <", PAGES["generated/distributions.md"]))
    assert set(device_names()) <= set(rows_of(PAGES["generated/devices.md"]))
    assert set(device_names()) <= set(rows_of(PAGES["generated/device-numbers.md"]))
    for name in CONVENTIONS.names():
        assert f"### {name}\n" in PAGES["generated/conventions.md"]


def test_what_exact_is_has_one_wording() -> None:
    for page in ("conventions", "glossary"):
        assert EXACT.title in " ".join(Document(ROOT / "docs" / f"{page}.md").text.split())
    assert EXACT.title in PAGES["generated/conventions.md"]


def test_every_switch_of_every_convention_is_in_its_table() -> None:
    found = rows_of(PAGES["generated/convention-switches.md"])
    per_sample = [each for each in CONVENTIONS if each.per == "sample"]
    assert found["switch"] == [f"`{each.name}`" for each in per_sample]
    for name in differing(per_sample):
        assert found[name] == [getattr(each, name) for each in per_sample]
    of_tokens = rows_of(PAGES["generated/language-switches.md"])
    names = differing(LANGUAGE_CONVENTIONS)
    assert of_tokens["convention"] == [f"`{name}`" for name in names]
    for each in LANGUAGE_CONVENTIONS:
        assert of_tokens[each.name] == [getattr(each, name) for name in names]


def test_every_value_of_every_switch_is_in_its_table() -> None:
    page = PAGES["generated/switches.md"]
    for name, switch in SWITCHES.items():
        assert f"| `{name}` |" in page
        for value, each in switch.values.items():
            assert f"| `{value}` | {each.words} | {each.source} |" in page


def test_every_setting_is_in_its_table() -> None:
    found = rows_of(PAGES["generated/settings.md"])
    assert all(found[name][0] == f"`{option_name(name)}`" for name in OPTIONS)


@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_command_leaves_out_is_in_the_table_of_differences(name: str) -> None:
    """A setting that a command does not take is a hidden option, which refuses with the reason."""
    hidden = {each.opts[0] for each in command_named(name).params if isinstance(each, click.Option) and each.hidden}
    lines = PAGES["generated/setting-differences.md"].splitlines()
    rows = [line for line in lines if line.startswith(f"| `{name}` |") and "not taken:" in line]
    assert {option for row in rows for option in re.findall("`(--[a-z-]+)`", row.split(" | ")[1])} == hidden


def test_a_room_reads_only_its_own_data_files() -> None:
    """Reading another room's files would be an import that the contracts do not see."""
    for file in (ROOT / "swatcost").rglob("*.py"):
        home = ".".join(file.parent.relative_to(ROOT).parts)
        read = re.findall(r"""files\(['"](swatcost[\w.]*)""", file.read_text(encoding="utf-8"))
        assert set(read) <= {home}, file


def test_every_room_is_in_the_table_of_rooms() -> None:
    names = {
        each.stem for each in (ROOT / "swatcost").iterdir() if each.suffix == ".py" or (each / "__init__.py").exists()
    }
    shown = {name for line in PAGES["generated/rooms.md"].splitlines() for name in re.findall(r"`(\w+)`", line)}
    assert names - {"__init__", "__main__", "moved", "version"} == shown


def test_times_from_data_sheets_are_called_lower_bounds() -> None:
    for line in PAGES["generated/devices.md"].splitlines():
        assert ("data sheet:" in line) == ("data sheet: lower bounds" in line)


def test_every_command_and_option_is_described() -> None:
    page = PAGES["generated/commands.md"]
    for name in COMMANDS:
        command = command_named(name)
        section = page.split(f"## {name}\n")[1].split("\n## ")[0]
        for each in command.params:
            if isinstance(each, click.Option) and not each.hidden:
                assert max(each.opts, key=len) in section, (name, each.opts)


@pytest.mark.parametrize("name", PAGES)
def test_tables_have_a_cell_in_every_column(name: str) -> None:
    lines = PAGES[name].splitlines()
    for above, line in pairwise(lines):
        if above.startswith("| ") and line.startswith("| "):
            assert len(re.findall(r"(?<!\\)\|", above)) == len(re.findall(r"(?<!\\)\|", line)), line


def test_a_bar_in_a_cell_is_escaped() -> None:
    assert table(["a", "b"], [["x|y", "1"]]) == "| a | b |\n| :--- | ---: |\n| x\\|y | 1 |\n"


@pytest.mark.parametrize("document", [*documents(), Document(ROOT / "commands")], ids=lambda each: each.path.name)
def test_commands_that_are_not_run_are_valid(document: Document) -> None:
    """Blocks of `sh` are parsed, not run: every command and option must exist."""
    text = PAGES["generated/commands.md"] if document.path.name == "commands" else document.text
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            program, *args = shlex.split(line, comments=True) or [""]
            if program == "swatcost":
                name = args.pop(0) if args[0] in COMMANDS else "estimate"
                command_named(name).make_context(name, args)


@pytest.mark.parametrize(
    "text",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="//cdn.example/x.css">',
        '<img alt="x" src="http://example/x.png">',
    ],
)
def test_what_a_page_would_load_is_found(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.html").write_text(f"<p>{text}</p>")
    assert [each.partition(":")[0] for each in loaded_from_network(tmp_path)] == ["x.html"]


def test_what_a_style_would_load_is_found_and_links_are_not(tmp_path: Path) -> None:
    (tmp_path / "x.css").write_text("@font-face { src: url(https://fonts.example/x.woff2) }")
    (tmp_path / "y.html").write_text('<a href="https://example/">y</a><script src="static/y.js"></script>')
    assert loaded_from_network(tmp_path) == ["x.css: https://fonts.example/x.woff2"]
