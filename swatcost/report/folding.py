"""Rows of a table of layers whose equal neighbours, such as the blocks of a transformer, are one row."""

from collections.abc import Hashable, Iterable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

Row = dict[str, Any]
_NAMES = ("name", "weight")


class _Folded(NamedTuple):
    """A row, the parts of its name, and how many rows it stands for."""

    path: tuple[str, ...]
    row: Row
    copies: int


def folded_rows(rows: Iterable[Row]) -> list[Row]:
    """The rows with those of neighbouring blocks as one, whose parameters and MACs are the sums of theirs.

    Blocks are modules whose names differ in numbers alone; neighbours are equal if their rows are, in the same order,
    in all but names. A row of blocks 0 to 11 is called `blocks.0 … 11.proj ×12`.
    """
    folded = _within([_Folded(tuple(row["name"].split(".")), row, 1) for row in rows], 0)
    return [
        each.row if each.copies == 1 else {**each.row, "name": f"{'.'.join(each.path)} ×{each.copies}"}
        for each in folded
    ]


def _within(rows: Sequence[_Folded], depth: int) -> list[_Folded]:
    """The rows of one module, whose names are the same in their first `depth` parts."""

    def part(row: _Folded) -> str:
        return row.path[depth] if depth < len(row.path) else ""

    modules = [_within(list(module), depth + 1) if name else list(module) for name, module in groupby(rows, key=part)]
    found: list[_Folded] = []
    for _, equal in groupby(enumerate(modules), key=lambda each: _structure(each[1], depth) or each[0]):
        found += _together([module for _, module in equal], depth)
    return found


def _structure(module: Sequence[_Folded], depth: int) -> Hashable:
    """The key by which neighbouring blocks are equal; None for a module whose name has no number, and for a layer with
    one.
    """
    path = module[0].path
    name = path[depth] if depth < len(path) else ""
    stem = name.rstrip("0123456789")
    if stem == name or (stem and len(path) == depth + 1):
        return None
    return stem, tuple((each.path[depth + 1 :], each.copies, _but_names(each.row)) for each in module)


def _but_names(row: Row) -> Hashable:
    return tuple((key, value) for key, value in row.items() if key not in _NAMES)


def _together(modules: Sequence[Sequence[_Folded]], depth: int) -> list[_Folded]:
    if len(modules) == 1:
        return list(modules[0])
    first, last = modules[0][0].path[depth], modules[-1][0].path[depth]
    name = f"{first} … {last[len(first.rstrip('0123456789')) :]}"
    return [
        _Folded((*same[0].path[:depth], name, *same[0].path[depth + 1 :]), _added(same), same[0].copies * len(modules))
        for same in zip(*modules, strict=True)
    ]


def _added(rows: Sequence[_Folded]) -> Row:
    """The first row, with the parameters and MACs of all."""
    first = rows[0].row
    return first | {key: sum(each.row[key] for each in rows) for key in first if adds_up(key)}


def adds_up(column: str) -> bool:
    """Whether a column of layers adds up over rows."""
    return column == "params" or column.endswith("_macs")
