"""A report as tables for a terminal."""

import re
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from swatcost.report.numbers import held_together
from swatcost.report.sheet import Caveat, Figure, Sheet, Table, View

_BOLD, _GREEN, _YELLOW = "1", "1;32", "33"  # what a terminal is told (ECMA-48, SGR)


def render(report: Any, result: Any, view: View) -> str:
    sheet: Sheet = report.sheet(result, view.layers)
    first, *rest = (wrap(line, view.width) for line in sheet.opening)
    blocks = ["\n".join([_painted(first, _BOLD, view), *rest]), _summary(sheet.summary, view)]
    if not (view.quiet and sheet.summary):
        if sheet.layers and sheet.shows_layers:
            blocks.append(_headed(_layers(sheet, view), view))
        blocks += [_headed(lay_out(each, view.width), view) for each in sheet.tables]
    if not view.quiet:
        blocks.append(_notes(sheet.notes, view))
    return "\n\n".join(each for each in blocks if each)


def _painted(text: str, how: str, view: View) -> str:
    return f"\x1b[{how}m{text}\x1b[0m" if view.colour else text


def _headed(table: str, view: View) -> str:
    """A table whose headings stand out where the terminal has something for that."""
    if not view.colour:
        return table
    lines = table.split("\n")
    rule = next(place for place, line in enumerate(lines) if set(line) <= {"-", " "})
    return "\n".join([*(_painted(line, _BOLD, view) for line in lines[:rule]), *lines[rule:]])


_LONGEST_VALUE = 24  # a longer one is a sentence, which needs no column of its own


def _summary(figures: Sequence[Figure], view: View) -> str:
    """A line for each figure, its number in one column with the others."""
    labels = max((len(each.label) for each in figures), default=0) + 2
    short = [len(each.value) for each in figures if each.remark and len(each.value) <= _LONGEST_VALUE]
    column = max(short, default=0) + 2
    lines = []
    for each in figures:
        value = f"{each.value:<{column}}" if each.remark and len(each.value) <= _LONGEST_VALUE else f"{each.value}  "
        indent = " " * (labels + (column if len(each.value) <= _LONGEST_VALUE else 0))
        text = wrap(f"{each.label:<{labels}}{value}{each.remark}".rstrip(), view.width, indent)
        lines.append(text.replace(each.value, _painted(each.value, _GREEN, view), 1))
    return "\n".join(lines)


def _notes(notes: Sequence[str], view: View) -> str:
    """All notes if asked, or else those that may change a decision, and how many others there are."""
    shown = [each for each in notes if view.notes or isinstance(each, Caveat)]
    lines = []
    for each in shown:
        text = wrap(f"- {each}", view.width, indent="  ")
        lines.append(_painted(text, _YELLOW, view) if isinstance(each, Caveat) else text)
    if folded := len(notes) - len(shown):
        what = f"{folded} {'more ' if shown else ''}note{'s' * (folded > 1)}"
        lines.append(wrap(f"({what} on what was counted and assumed: {view.more})", view.width))
    return "\n".join(lines)


def _layers(sheet: Sheet, view: View) -> str:
    """The most detailed table of layers that fits, with a rule above the total."""
    assert sheet.layers is not None
    for detail in sheet.details:
        whole = sheet.layers(detail)
        table = whole.folding(view.fold)
        lines = lay_out(table).splitlines()
        if max(map(len, lines)) <= view.width:
            break
    rule = next(line for line in lines if set(line) <= {"-", " "})
    left_out = sheet.left_out(detail)
    notes = [_FOLDED] if table is not whole else []
    notes += [f"(not shown: {left_out}; use a wider terminal or --format csv)"] if left_out else []
    return "\n".join([*lines[:-1], rule, lines[-1], *(wrap(each, view.width) for each in notes)])


_FOLDED = "(a row with ×N holds the totals of N equal neighbours; --no-fold shows each)"


def lay_out(table: Table, width: int | None = None) -> str:
    """A table of cells in this form, its headings and words broken between words where width columns ask for it.

    One that is too wide even so, and divisible, is laid out as several, one below the other.
    """
    if width is None:
        return _laid_out(table)
    if width < table.room and table.narrow:
        table = table.narrow
    text = _fitted(table, width)
    return (_in_parts(table, width) if table.divisible and _widest(text) > width else None) or text


def _fitted(table: Table, width: int) -> str:
    """The table with headings as wide as fit, or else with the shortest cells."""
    for room in (_ROOM_OF_HEADINGS, 0):
        text = _laid_out(table, room)
        if _widest(text) <= width:
            return text
    narrow, wide = _NARROWEST_CELL, width
    while narrow < wide:
        middle = (narrow + wide + 1) // 2
        if _widest(_laid_out(_broken(table, middle), 0)) <= width:
            narrow = middle
        else:
            wide = middle - 1
    return _laid_out(_broken(table, narrow), 0)


def _in_parts(table: Table, width: int) -> str | None:
    """Tables with the columns of words and as many others at a time as fit; None where that does not help."""
    words, columns = table.text_columns, len(table.header)
    for taken in range(columns - words - 1, 0, -1):
        chosen = [[*range(words), *range(columns)[first : first + taken]] for first in range(words, columns, taken)]
        parts = [_fitted(_columns(table, each), width) for each in chosen]
        if max(map(_widest, parts)) <= width:
            return "\n\n".join(parts)
    return None


def _columns(table: Table, chosen: list[int]) -> Table:
    header, *rows = ([row[column] for column in chosen] for row in (table.header, *table.rows))
    return replace(table, header=header, rows=rows)


_NARROWEST_CELL = 8
_ROOM_OF_HEADINGS = 2  # by which a column is wider than its heading, where there is space


def _broken(table: Table, longest: int) -> Table:
    header = [_broken_cell(each, longest) for each in table.header]
    words = table.text_columns
    rows = [[*(_broken_cell(each, longest) for each in row[:words]), *row[words:]] for row in table.rows]
    return replace(table, header=header, rows=rows)


def _broken_cell(text: str, longest: int) -> str:
    lines = [line for given in text.split("\n") for line in wrap(given, longest).split("\n")]
    return "\n".join(_between_parameters(line, longest) for line in lines)


_PARAMETER = re.compile(r"(?<=[:,])(?=\w+=)")  # where one begins, as in rigl:delta_t=200,t_end=0.75


def _between_parameters(line: str, longest: int) -> str:
    """The name of a method with its parameters, the second and later lines indented."""
    lines = [""]
    for part in _PARAMETER.split(line):
        if lines[-1] and len(lines[-1] + part) > longest:
            lines.append(f" {part}")
        else:
            lines[-1] += part
    return "\n".join(lines)


def _widest(text: str) -> int:
    return max(map(len, text.splitlines()))


def _laid_out(table: Table, room: int = _ROOM_OF_HEADINGS) -> str:
    """Columns two spaces apart, a rule under the headings; written here because importing tabulate takes longer."""
    split = [[cell.strip(" ").split("\n") for cell in row] for row in (table.header, *table.rows)]
    widths = [
        max([*(len(line) + room for line in heading), *(len(line) for cell in cells for line in cell)])
        for heading, *cells in zip(*split, strict=True)
    ]
    lines = []
    for row in split:
        for texts in zip_longest(*row, fillvalue=""):
            aligned = zip(texts, widths, table.alignment, strict=True)
            lines.append(
                "  ".join(f"{text:<{width}}" if side == "left" else f"{text:>{width}}" for text, width, side in aligned)
            )
        if row is split[0]:
            lines.append("  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines).replace("\N{NO-BREAK SPACE}", " ")


def wrap(text: str, width: int, indent: str = "") -> str:
    wrapped = textwrap.fill(
        held_together(text),
        width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return wrapped.replace("\N{NO-BREAK SPACE}", " ")
