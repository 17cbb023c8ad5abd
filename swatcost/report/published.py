"""Published numbers beside computed ones, as a table, Markdown, LaTeX, CSV or JSON."""

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from swatcost.published import REPEATED, REPRODUCED, Reproduction, Verdict
from swatcost.report import checked_format, render_as
from swatcost.report.numbers import signed
from swatcost.report.sheet import Table, View
from swatcost.report.table import wrap

_LEGEND = (
    "paper: as published; reductions (↓), activations (Act) and channels pruned (CP) in %, MC is model compression. "
    "ours: computed with the settings of the row. supplied: computed with the statistic that the reason names. "
    "The difference is that of whichever of ours and supplied is closer."
)
_MEANINGS: Mapping[Verdict, str] = {
    "equal": "rounds to the printed digits",
    "within tolerance": "off in the last printed digit, but within the stated tolerance, ±",
    "bound holds": "keeps the printed bound",
    "other convention": "reproduced under that convention, not under the row's own",
    "consistent": "follows from other printed numbers, without any count of ours",
    "inconsistent": "does not follow from them",
    "by construction": "a setting, or true of any network: not counted as reproduced",
    "quoted": "not a cost, or not ours to compute",
}
_PLURALS = {"needs a statistic": "need a statistic", "bound holds": "bounds hold"}
_SHORT = {
    "needs a statistic": "needs data",
    "not reproducible": "not repr.",
    "not computable": "no data",
    "not computed": "not comp.",
    "by construction": "by constr.",
    "bound holds": "holds",
}
_ROOM_FOR_ALL = 110  # columns
_NO_COSTS_OF_OURS = ("consistent", "inconsistent", "by construction", "quoted", "not computed")
_FOLDED = ("by construction", "quoted", "consistent")  # whose cells are counted, not listed, unless notes are asked for


def render(found: Sequence[Reproduction], format: str, **view: Any) -> str:
    """The reproductions as text in one of FORMATS, shown as a `View` has it; formats for people end with the counts."""
    if format in ("json", "csv"):
        return render_as("published", found, format)
    shown = View(**view)
    width = shown.width
    if shown.quiet:
        return f"{wrap(counts_line(found), width)}\n"
    form = import_module(f"swatcost.report.{checked_format(format)}")
    blocks = []
    for table in dict.fromkeys(each.cell.table for each in found):
        rows = [each for each in found if each.cell.table == table]
        terminal = format == "table"
        cells = _table(rows, width if terminal else _ROOM_FOR_ALL)
        blocks.append(f"{_heading(table)}\n\n{form.lay_out(cells, width) if terminal else form.lay_out(cells)}")
        if notes := [*_reasons(rows, shown.notes), *_conventions(rows, shown)]:
            blocks.append("\n".join(wrap(f"- {note}", width, indent="  ") for note in notes))
    text_of_all = "\n\n".join([*blocks, wrap(_legend(found), width), wrap(counts_line(found), width)])
    return (text_of_all if format != "latex" else _commented(text_of_all)) + "\n"


def to_dict(found: Sequence[Reproduction]) -> dict[str, Any]:
    counts = Counter(each.verdict for each in found)
    return {"schema": "swatcost.tables/2", "counts": counts, "cells": [each.to_dict() for each in found]}


def rows(found: Sequence[Reproduction]) -> list[dict[str, Any]]:
    """One row per cell, with one column per convention."""
    conventions = dict.fromkeys(name for each in found for name in each.by_convention)
    plain = []
    for each in found:
        row = each.to_dict()
        by_convention, elsewhere = row.pop("by_convention"), row.pop("elsewhere")
        row["elsewhere"] = "; ".join(f"{near} under {name}" for name, near in elsewhere.items())
        plain.append(row | {f"under {name}": by_convention.get(name) for name in conventions})
    return plain


def counts_line(found: Sequence[Reproduction]) -> str:
    """How many cells come out, of those that this program computes, and the number of the others by verdict."""
    counts: Counter[str] = Counter(each.verdict for each in found)
    costs = [verdict for verdict in counts if verdict not in _NO_COSTS_OF_OURS]
    missed = [verdict for verdict in costs if verdict not in REPRODUCED]
    cells = f"{len(found)} cell{'' if len(found) == 1 else 's'}"
    reproduced = sum(counts[each] for each in REPRODUCED)
    of_costs = f"{reproduced} of {sum(counts[each] for each in costs)} costs reproduced"
    parts = [
        f"{of_costs} ({_listed(counts, REPRODUCED, every=True)})" if costs else "",
        _listed(counts, sorted(missed)),
        _listed(counts, _NO_COSTS_OF_OURS),
    ]
    return f"{cells}: {'; '.join(filter(None, parts))}."


def _listed(counts: Counter[str], verdicts: Sequence[str], *, every: bool = False) -> str:
    named = {"equal": "equal to the printed digits", "other convention": "under another convention"}
    return ", ".join(
        f"{counts[each]} {named.get(each) or (_PLURALS.get(each, each) if counts[each] != 1 else each)}"
        for each in verdicts
        if counts[each] or (every and each != "bound holds")
    )


def _legend(found: Sequence[Reproduction]) -> str:
    """What the columns mean, and the verdicts that occur."""
    present = {each.verdict for each in found}
    meanings = [
        f"{_SHORT.get(verdict, verdict)} ({verdict}): {meaning}" if verdict in _SHORT else f"{verdict}: {meaning}"
        for verdict, meaning in _MEANINGS.items()
        if verdict in present
    ]
    return " ".join([_LEGEND, *(f"{each}." for each in meanings)])


def _heading(table: str) -> str:
    repeating = [name for name, first in REPEATED.items() if first == (table,)]
    if again := [name for name in repeating if name.isdigit()]:
        return f"Tables {' and '.join([*again, table])}"
    if table.isdigit():
        return " and ".join([f"Table {table}", *(name for name in repeating if name[0] != "A")])
    return f"Section {table}" if table[1:2] == "." else table[0].upper() + table[1:]


# The paper's column heads, if it has one, or else a short name.
_HEADS = {
    "training_reduction": "training ↓",
    "inference_reduction": "inference ↓",
    "activation_reduction": "Act ↓",
    "model_compression": "MC",
    "channels_pruned": "CP",
    "act_sparsity": "Act",
    "top1": "Top-1",
    "accuracy_change": "Acc. change",
    "across_layers": "across layers",
    "sparse_forward": "forward",
    "sparse_grad_input": "input grad.",
    "sparse_grad_weight": "weight grad.",
    "retired_instructions": "instructions",
    "instructions_per_element": "instructions/size",
    "first_and_last_parameters": "first + last layer, %",
    "batch_size": "batch",
    "gpus": "GPUs",
    "iterations_per_epoch": "iterations/epoch",
    "fewer_flops": "fewer FLOPs, %",
    "times_fewer_flops": "fewer FLOPs, ×",
    "training_flops_ratio": "training FLOPs, ×",
    "backward_over_forward": "backward/forward",
    "last_layer_backward_over_forward": "backward/forward",
}


def _table(found: Sequence[Reproduction], width: int) -> Table:
    """Printed and computed numbers; with shorter words in a narrow terminal."""
    narrow, supplies = width < _ROOM_FOR_ALL, any(each.supplied is not None for each in found)
    differs = any(each.difference is not None for each in found)
    difference = ["diff" if narrow else "difference"] if differs else []
    header = ["row", "quantity", "paper", "ours", *(["supplied"] if supplies else []), *difference, "verdict"]
    rows = [
        [
            " ".join(filter(None, (each.cell.network, each.cell.method, each.cell.setting))),
            _HEADS.get(each.cell.quantity, each.cell.quantity),
            f"{'' if each.cell.relation == '=' else f'{each.cell.relation} '}{each.cell.as_printed}",
            _number(each.computed, each),
            *([_number(each.supplied, each)] if supplies else []),
            *([_difference(each.difference)] if differs else []),
            _verdict(each, narrow),
        ]
        for each in found
    ]
    return Table(header, rows, text_columns=2)


def _verdict(found: Reproduction, narrow: bool) -> str:
    if found.verdict == "within tolerance":
        return f"within ±{found.cell.tolerance:g}"
    if found.verdict == "other convention":
        first, *more = sorted(found.elsewhere, key=lambda name: found.elsewhere[name] != "equal")
        return f"under {first}{', …' if more else ''}"
    return _SHORT.get(found.verdict, found.verdict) if narrow else found.verdict


def _difference(value: float | None) -> str:
    return "" if value is None else signed(value)


def _number(value: float | str | None, of: Reproduction) -> str:
    """Two decimals, but a count as a whole number."""
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:.0f}" if not of.cell.decimals and float(round(value, 6)).is_integer() else f"{value:.2f}"


def _name(found: Reproduction) -> str:
    cell, head = found.cell, _HEADS.get(found.cell.quantity, found.cell.quantity)
    return " ".join(filter(None, (cell.network, cell.method, cell.setting, head)))


def _reasons(found: Sequence[Reproduction], every: bool) -> list[str]:
    """The reasons, each once, with the cells that it explains, or their number where none is a finding."""
    explained: dict[tuple[str, str], list[str]] = {}
    for each in found:
        if each.cell.reason and not each.cell.reason.startswith("accuracy"):
            verdict = "" if each.verdict in REPRODUCED else f"{each.verdict}: "
            explained.setdefault((each.verdict, f"{verdict}{each.cell.reason}"), []).append(_name(each))
    return [
        f"{reason} ({len(names)} cells)."
        if verdict in _FOLDED and len(names) > 2 and not every
        else f"{reason} ({'; '.join(names)})."
        for (verdict, reason), names in explained.items()
    ]


def _conventions(found: Sequence[Reproduction], view: View) -> list[str]:
    """Under which other conventions numbers come out; where the row's own gives the digits, too, only with notes."""
    findings: dict[str, list[str]] = {}
    folded = 0
    for each in found:
        comes_out = each.best is not None and each.cell.nearness(each.best) in ("equal", "bound holds")
        if each.elsewhere and comes_out and not view.notes:
            folded += 1
        elif each.elsewhere:
            near = dict.fromkeys(each.elsewhere.values())
            where = "; ".join(f"{how} under {', '.join(_under(each, how))}" for how in near)
            named = [each.by_convention[name] for how in near for name in _under(each, how)]
            numbers = ", ".join(f"{number:.{each.cell.decimals + 1}f}" for number in named)
            findings.setdefault(where, []).append(f"{_name(each)}: {numbers}")
    notes = [f"{where} ({'; '.join(names)})." for where, names in findings.items()]
    if folded:
        cells = f"{folded} cell{'s come' if folded > 1 else ' comes'}"
        notes.append(f"{cells} out under other conventions, too ({view.more} names them).")
    return notes


def _under(found: Reproduction, how: str) -> list[str]:
    return [name for name, near in found.elsewhere.items() if near == how]


def _commented(text: str) -> str:
    """The text with all lines outside of tables as LaTeX comments."""
    inside, lines = False, []
    for line in text.splitlines():
        inside = inside or line.startswith(r"\begin{tabular}")
        lines.append(line if inside or not line else f"% {line}")
        inside = inside and not line.startswith(r"\end{tabular}")
    return "\n".join(lines)
