"""A report as tables for a terminal."""

import textwrap
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from swatcost.report.numbers import held_together
from swatcost.report.sheet import Sheet, Table


def render(report: Any, result: Any, layers: bool, width: int) -> str:
    sheet: Sheet = report.sheet(result, layers)
    blocks = ["\n".join(wrap(line, width) for line in sheet.opening)]
    if sheet.layers and sheet.shows_layers:
        blocks.append(_layers(sheet, width))
    blocks += [lay_out(each, width) for each in sheet.tables]
    blocks.append("\n".join(wrap(f"- {note}", width, indent="  ") for note in sheet.notes))
    return "\n\n".join(each for each in blocks if each)


def _layers(sheet: Sheet, width: int) -> str:
    """The most detailed table of layers that fits, with a rule above the total."""
    assert sheet.layers is not None
    for detail in sheet.details:
        lines = lay_out(sheet.layers(detail)).splitlines()
        if max(map(len, lines)) <= width:
            break
    rule = next(line for line in lines if set(line) <= {"-", " "})
    left_out = sheet.left_out(detail)
    note = [wrap(f"({left_out}: in a wider terminal, or with --format csv)", width)] if left_out else []
    return "\n".join([*lines[:-1], rule, lines[-1], *note])


def lay_out(table: Table, width: int | None = None) -> str:
    """A table of cells in this form, its headings and words broken between words where width columns ask for it."""
    if width is not None and width < table.room and table.narrow:
        table = table.narrow
    text = _laid_out(table)
    if width is None or _widest(text) <= width:
        return text
    narrow, wide = _NARROWEST_CELL, width
    while narrow < wide:  # the longest cells with which it fits
        middle = (narrow + wide + 1) // 2
        if _widest(_laid_out(_broken(table, middle))) <= width:
            narrow = middle
        else:
            wide = middle - 1
    return _laid_out(_broken(table, narrow))


_NARROWEST_CELL = 8
_ROOM_OF_HEADINGS = 2  # a column is wider than its heading by so much at least


def _broken(table: Table, longest: int) -> Table:
    header = [_broken_cell(each, longest) for each in table.header]
    words = table.text_columns
    rows = [[*(_broken_cell(each, longest) for each in row[:words]), *row[words:]] for row in table.rows]
    return replace(table, header=header, rows=rows)


def _broken_cell(text: str, longest: int) -> str:
    lines = (wrap(line, longest) for line in text.split("\n"))
    return "\n".join(lines)


def _widest(text: str) -> int:
    return max(map(len, text.splitlines()))


def _laid_out(table: Table) -> str:
    """Columns two spaces apart, a rule under the headings; written here because importing tabulate takes longer."""
    split = [[cell.strip(" ").split("\n") for cell in row] for row in (table.header, *table.rows)]
    widths = [
        max([*(len(line) + _ROOM_OF_HEADINGS for line in heading), *(len(line) for cell in cells for line in cell)])
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


_WIDEST_TEXT = 100


def wrap(text: str, width: int, indent: str = "") -> str:
    wrapped = textwrap.fill(
        held_together(text),
        min(width, _WIDEST_TEXT),
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return wrapped.replace("\N{NO-BREAK SPACE}", " ")
