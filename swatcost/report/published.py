"""Published numbers beside computed ones, as a table, Markdown, LaTeX, CSV or JSON."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from swatcost.report import checked_format, layouts
from swatcost.report.content import Table
from swatcost.report.table import wrap

if TYPE_CHECKING:
    from swatcost.published import Reproduction

_ROOM_FOR_ALL = 110  # columns
_VERDICTS = ("reproduced", "needs a statistic", "not reproducible", "quoted", "MISMATCH")


def render(found: Sequence[Reproduction], format: str, *, width: int = 80) -> str:
    """The reproductions as text in one of FORMATS; forms for people end with the counts."""
    if checked_format(format) == "json":
        import msgspec

        counts = Counter(each.verdict for each in found)
        data = {"schema": "swatcost.tables/1", "counts": counts, "cells": [_flat(each) for each in found]}
        return msgspec.json.format(msgspec.json.encode(data), indent=2).decode() + "\n"
    if format == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(_flat(found[0])), lineterminator="\n")
        writer.writeheader()
        writer.writerows(map(_flat, found))
        return text.getvalue()
    blocks = []
    for table in dict.fromkeys(each.cell.table for each in found):
        rows = [each for each in found if each.cell.table == table]
        blocks.append(
            f"{_heading(table)}\n\n{layouts(format)(_table(rows, width if format == 'table' else _ROOM_FOR_ALL))}"
        )
        if reasons := _reasons(rows):
            blocks.append("\n".join(wrap(f"- {reason}", width, indent="  ") for reason in reasons))
    text_of_all = "\n\n".join([*blocks, counts_line(found)])
    return (text_of_all if format != "latex" else _commented(text_of_all)) + "\n"


def counts_line(found: Sequence[Reproduction]) -> str:
    """How many cells there are, and how many of each verdict."""
    counts: Counter[str] = Counter(each.verdict for each in found)
    parts = [f"{counts[verdict]} {verdict}" for verdict in _VERDICTS if counts[verdict] or verdict != "MISMATCH"]
    return f"{len(found)} cells: {', '.join(parts)}."


def _heading(table: str) -> str:
    return f"Table {table}" if table[0].isdigit() else {"RigL": "RigL's ResNet-50 (its appendix)"}.get(table, table)


# The paper's column heads, where it has one.
_HEADS = {
    "training_reduction": "training ↓",
    "inference_reduction": "inference ↓",
    "activation_reduction": "Act ↓",
    "model_compression": "MC",
    "channels_pruned": "CP",
    "act_sparsity": "Act",
    "act_sparsity_target": "Act",
    "top1": "Top-1",
    "accuracy_change": "Acc. change",
}


_SHORT = {"needs a statistic": "statistic", "not reproducible": "not repr."}


def _table(found: Sequence[Reproduction], width: int) -> Table:
    """Printed beside computed; in a narrow terminal without the difference, and verdicts in short."""
    supplies, narrow = any(each.supplied is not None for each in found), width < _ROOM_FOR_ALL
    header = ["row", "quantity", "printed", "computed", *(["supplied"] if supplies else [])]
    header += ["verdict"] if narrow else ["differs", "verdict"]
    rows = []
    for each in found:
        cell, best = each.cell, each.computed if each.supplied is None else each.supplied
        relation = "" if cell.relation == "=" else f"{cell.relation} "
        rows.append(
            [
                " ".join(filter(None, (cell.network, cell.method, cell.setting))),
                _HEADS.get(cell.quantity, cell.quantity),
                f"{relation}{cell.printed:g}",
                _number(each.computed),
                *([_number(each.supplied)] if supplies else []),
                *([] if narrow else ["" if best is None else f"{best - cell.printed:+.2f}"]),
                _SHORT.get(each.verdict, each.verdict) if narrow else each.verdict,
            ]
        )
    return Table(header, rows, text_columns=2)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _reasons(found: Sequence[Reproduction]) -> list[str]:
    """Why cells do not come out, each reason once with the cells that it explains."""
    explained: dict[str, list[str]] = {}
    for each in found:
        if each.verdict in ("needs a statistic", "not reproducible"):
            cell = each.cell
            name = " ".join(filter(None, (cell.network, cell.method, cell.setting, cell.quantity)))
            explained.setdefault(f"{each.verdict}: {cell.reason}", []).append(name)
    return [f"{reason} ({'; '.join(names)})." for reason, names in explained.items()]


def _flat(each: Reproduction) -> dict[str, object]:
    return {**asdict(each.cell), "computed": each.computed, "supplied": each.supplied, "verdict": each.verdict}


def _commented(text: str) -> str:
    """Lines that are no LaTeX as comments."""
    inside, lines = False, []
    for line in text.splitlines():
        inside = inside or line.startswith(r"\begin{tabular}")
        lines.append(line if inside or not line else f"% {line}")
        inside = inside and not line.startswith(r"\end{tabular}")
    return "\n".join(lines)
