"""Tables of numbers by layer name or pattern: CSV, JSON and YAML files, or a mapping."""

import reprlib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from numbers import Real
from pathlib import Path
from typing import Any

from swatcost.common.errors import SwatcostError
from swatcost.common.printing import uncelled
from swatcost.common.reading import LARGEST_TABLE, LARGEST_YAML, csv_of, json_of, number_of, read, yaml_of
from swatcost.common.record import read_record
from swatcost.common.registry import nearest
from swatcost.network.layer import Layer

Row = dict[str, float]
COLUMNS = ["weights", "acts", "zeros", "share"]
_WILDCARDS = frozenset("*?[")


def read_table(source: Any) -> dict[str, Row]:
    """Reads {layer name or pattern: {column: number}}.

    A CSV file has a column `layer` and columns of numbers; JSON, YAML and mappings have, for each layer, an object of
    columns or one number, which becomes the column `weights`. The record of a run (.jsonl) has columns weights, acts,
    zeros and share. Nothing in a file is executed.

    Raises SwatcostError if it cannot be read or is not such a table.
    """
    if isinstance(source, Mapping):
        return _rows(source, named(source))
    if not isinstance(source, str | Path):
        raise SwatcostError(
            f"{reprlib.repr(source)} is not a table: give a .csv, .json or .yaml file, or a mapping by layer"
        )
    path = Path(source)
    if path.suffix == ".jsonl":
        return read_record(path).by_layer()
    if path.suffix == ".csv":
        return _rows(read(path, "table", _csv, LARGEST_TABLE, closed=False), str(path))
    if path.suffix in (".yaml", ".yml"):
        return _rows(read(path, "table", yaml_of, LARGEST_YAML, closed=False), str(path))
    return _rows(read(path, "table", json_of, LARGEST_TABLE), str(path))


def _csv(text: str) -> dict[str, dict[str, float]]:
    """Numbers by layer and column; empty cells are left out."""
    rows = csv_of(text, "layer").items()
    return {uncelled(layer): {name: number_of(cell) for name, cell in row.items() if cell} for layer, row in rows}


def _rows(data: Any, name: str) -> dict[str, Row]:
    if not isinstance(data, Mapping) or not data:
        raise SwatcostError(f"{name} has no numbers by layer")
    rows: dict[str, Row] = {}
    for layer, value in data.items():
        columns = value if isinstance(value, Mapping) else {"weights": value}
        if unknown := [key for key, each in columns.items() if each is None and key not in COLUMNS]:
            raise SwatcostError(f"{name}: the column {unknown[0]!r:.40} of {layer!r:.60} has no number")
        try:
            rows[str(layer)] = {str(key): _number(each) for key, each in columns.items() if each is not None}
        except (TypeError, OverflowError):
            raise SwatcostError(f"{name}: {reprlib.repr(value)} for layer {layer!r:.60} is not a number") from None
        if not rows[str(layer)]:
            raise SwatcostError(f"{name} has no number for layer {layer!r:.60}")
    return rows


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError
    return float(value)


def by_weight(source: Any, rows: Mapping[str, Row], column: str, layers: Sequence[Layer]) -> dict[str, float]:
    """A column's number for each layer, by weight: from the layer's own name, or else from the first matching pattern.

    rows are those of the table `source`. Raises SwatcostError for an unknown column, for a name or pattern that matches
    no layer, and for a layer that stands there under its own name and that of its weight.
    """
    table = named(source)
    for place, row in rows.items():
        if unknown := row.keys() - set(COLUMNS):
            name = min(unknown)
            raise SwatcostError(f"{table}: the column {name!r:.40} of {place!r:.60}: {nearest(name, COLUMNS)}")
    names = {name for layer in layers for name in (layer.name, layer.weight)}
    patterns = [each for each in rows if each not in names or not _WILDCARDS.isdisjoint(each)]
    for pattern in patterns:
        if not any(_matches(layer, pattern) for layer in layers):
            some = ", ".join(layer.name for layer in layers[:4])
            raise SwatcostError(f"{table}: {pattern!r:.80} matches no layer: the layers are {some}, …")
    found: dict[str, float] = {}
    for layer in layers:
        own = [name for name in dict.fromkeys((layer.name, layer.weight)) if column in rows.get(name, ())]
        if len(own) > 1:
            raise SwatcostError(f"{table}: {own[0]!r:.80} and {own[1]!r:.80} are the same layer: give one of them")
        for pattern in [*own, *(each for each in patterns if _matches(layer, each))]:
            if column in rows[pattern]:
                found[layer.weight] = rows[pattern][column]
                break
    return found


def named(source: Any) -> str:
    """A table's name in messages."""
    return "the mapping" if isinstance(source, Mapping) else str(source)


def _matches(layer: Layer, pattern: str) -> bool:
    return any(pattern == name or fnmatchcase(name, pattern) for name in (layer.name, layer.weight))
