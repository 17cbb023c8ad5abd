"""Published numbers beside computed ones, as a table, Markdown, LaTeX, CSV or JSON."""

from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from swatcost.published import REPEATED, Reproduction
from swatcost.report import checked_format, render_as
from swatcost.report.sheet import Table, View
from swatcost.report.table import wrap

_LEGEND = (
    "paper: as published; reductions (↓), activations (Act) and channels pruned (CP) in %, MC is model compression. "
    "ours: computed with the settings of the row. with data: computed with the statistic that the reason names. "
    "Differences are those of the better of the two. Quoted numbers are not costs, or are inputs of ours."
)
_ROOM_FOR_ALL = 110  # columns
_RARE = ("not computed", "MISMATCH")  # listed only if there are any
_VERDICTS = ("reproduced", "needs a statistic", "not reproducible", "quoted", "not computed", "MISMATCH")


def render(found: Sequence[Reproduction], format: str, **view: Any) -> str:
    """The reproductions as text in one of FORMATS, shown as a `View` has it; formats for people end with the counts."""
    if format in ("json", "csv"):
        return render_as("published", found, format)
    shown = View(**view)
    width = shown.width
    if shown.quiet:
        return f"{counts_line(found)}\n"
    lay_out = import_module(f"swatcost.report.{checked_format(format)}").lay_out
    blocks = []
    for table in dict.fromkeys(each.cell.table for each in found):
        rows = [each for each in found if each.cell.table == table]
        room = width if format == "table" else _ROOM_FOR_ALL
        blocks.append(f"{_heading(table)}\n\n{lay_out(_table(rows, room))}")
        if reasons := _reasons(rows):
            blocks.append("\n".join(wrap(f"- {reason}", width, indent="  ") for reason in reasons))
    text_of_all = "\n\n".join([*blocks, wrap(_LEGEND, width), counts_line(found)])
    return (text_of_all if format != "latex" else _commented(text_of_all)) + "\n"


def to_dict(found: Sequence[Reproduction]) -> dict[str, Any]:
    return {"schema": "swatcost.tables/1", "counts": Counter(each.verdict for each in found), "cells": rows(found)}


def rows(found: Sequence[Reproduction]) -> list[dict[str, Any]]:
    """One row per cell."""
    return [each.to_dict() for each in found]


def counts_line(found: Sequence[Reproduction]) -> str:
    """The number of cells, in total and by verdict."""
    counts: Counter[str] = Counter(each.verdict for each in found)
    parts = [
        f"{counts[verdict]} {verdict if counts[verdict] == 1 else verdict.replace('needs', 'need')}"
        for verdict in _VERDICTS
        if counts[verdict] or verdict not in _RARE
    ]
    return f"{len(found)} cell{'' if len(found) == 1 else 's'}: {', '.join(parts)}."


def _heading(table: str) -> str:
    if again := [name for name, first in REPEATED.items() if first == table]:
        return f"Tables {' and '.join([*again, table])}"
    if table.isdigit():
        return f"Table {table}"
    return f"Section {table}" if table[0].isdigit() else table


# The paper's column heads, if it has one.
_HEADS = {
    "training_reduction": "training ↓",
    "inference_reduction": "inference ↓",
    "activation_reduction": "Act ↓",
    "model_compression": "MC",
    "channels_pruned": "CP",
    "act_sparsity": "Act",
    "top1": "Top-1",
    "accuracy_change": "Acc. change",
}


_SHORT = {"needs a statistic": "needs data", "not reproducible": "not repr.", "not computed": "not comp."}


def _table(found: Sequence[Reproduction], width: int) -> Table:
    """Printed and computed numbers; with shorter words in a narrow terminal."""
    narrow, supplies = width < _ROOM_FOR_ALL, any(each.supplied is not None for each in found)
    printed, computed, supplied, difference = (
        ("paper", "ours", "with data", "diff") if narrow else ("paper", "ours", "with data", "difference")
    )
    header = ["row", "quantity", printed, computed, *([supplied] if supplies else []), difference, "verdict"]
    rows = [
        [
            " ".join(filter(None, (each.cell.network, each.cell.method, each.cell.setting))),
            _HEADS.get(each.cell.quantity, each.cell.quantity),
            f"{'' if each.cell.relation == '=' else f'{each.cell.relation} '}{each.cell.printed:g}",
            _number(each.computed),
            *([_number(each.supplied)] if supplies else []),
            "" if each.difference is None else f"{round(each.difference, 2) + 0.0:+.2f}",
            _SHORT.get(each.verdict, each.verdict) if narrow else each.verdict,
        ]
        for each in found
    ]
    return Table(header, rows, text_columns=2)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _reasons(found: Sequence[Reproduction]) -> list[str]:
    """The reasons, each once, with the cells that it explains."""
    explained: dict[str, list[str]] = {}
    for each in found:
        if each.cell.reason and not each.cell.reason.startswith("accuracy"):
            cell, head = each.cell, _HEADS.get(each.cell.quantity, each.cell.quantity)
            name = " ".join(filter(None, (cell.network, cell.method, cell.setting, head)))
            explained.setdefault(f"{each.verdict}: {cell.reason}", []).append(name)
    return [f"{reason} ({'; '.join(names)})." for reason, names in explained.items()]


def _commented(text: str) -> str:
    """The text with all lines outside of tables as LaTeX comments."""
    inside, lines = False, []
    for line in text.splitlines():
        inside = inside or line.startswith(r"\begin{tabular}")
        lines.append(line if inside or not line else f"% {line}")
        inside = inside and not line.startswith(r"\end{tabular}")
    return "\n".join(lines)
