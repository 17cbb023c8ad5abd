"""Tables of numbers by layer name, pattern or kind of matrix: CSV, JSON and YAML files, a text, or a mapping."""

import reprlib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from numbers import Real
from pathlib import Path
from typing import Any

from swatcost.common.errors import SwatcostError
from swatcost.common.printing import uncelled
from swatcost.common.reading import LARGEST_TABLE, LARGEST_YAML, csv_of, json_of, number_of, read, yaml_of
from swatcost.common.record import read_record
from swatcost.common.registry import nearest
from swatcost.common.units import fraction_from
from swatcost.distributions.distribution import Request
from swatcost.methods import checked_sparsity
from swatcost.network.layer import Layer
from swatcost.network.matrix_kinds import MATRIX_KINDS, none_of_kind

Row = dict[str, float]
COLUMNS = ["weights", "acts", "zeros", "share"]
_SUFFIXES = frozenset({".csv", ".json", ".yaml", ".yml", ".jsonl"})
_WILDCARDS = frozenset("*?[")


def read_table(source: Any) -> dict[str, Row]:
    """Reads {layer name, pattern or kind: {column: number}}.

    A CSV file has a column `layer` and columns of numbers; JSON, YAML and mappings have, for each layer, an object of
    columns or one number, which becomes the column `weights`; so do numbers in text such as `attention=0.5,head=0`. The
    record of a run (.jsonl) has columns weights, acts, zeros and share. Nothing in a file is executed.

    Raises SwatcostError if it cannot be read or is not such a table.
    """
    if isinstance(source, Mapping):
        return _rows(source, named(source))
    if not isinstance(source, str | Path):
        raise SwatcostError(
            f"{reprlib.repr(source)} is not a table: give a .csv, .json or .yaml file, or a mapping by layer"
        )
    path = Path(source)
    if "=" in str(source) and path.suffix not in _SUFFIXES:
        return _rows(_written(str(source)), str(source))
    if path.suffix == ".jsonl":
        return read_record(path).by_layer()
    if path.suffix == ".csv":
        return _rows(read(path, "table", _csv, LARGEST_TABLE, closed=False), str(path))
    if path.suffix in (".yaml", ".yml"):
        return _rows(read(path, "table", yaml_of, LARGEST_YAML, closed=False), str(path))
    return _rows(read(path, "table", json_of, LARGEST_TABLE), str(path))


def checked_table(request: Request) -> dict[str, Row]:
    """The table of a request's source.

    Raises SwatcostError for a number in the columns weights and acts that is not a sparsity.
    """
    rows = read_table(request.source)
    for name, row in rows.items():
        for column in {"weights", "acts"} & row.keys():
            checked_sparsity(row[column], f"{named(request.source)}: {column} of {name!r:.60}:")
    return rows


def _csv(text: str) -> dict[str, dict[str, float]]:
    """Numbers by layer and column; empty cells are left out."""
    rows = csv_of(text, "layer").items()
    return {uncelled(layer): {name: number_of(cell) for name, cell in row.items() if cell} for layer, row in rows}


def _written(text: str) -> dict[str, float]:
    """Numbers by layer from text: name=number, with commas between them."""
    found: dict[str, float] = {}
    for entry in text.split(","):
        name, equals, number = (each.strip() for each in entry.rpartition("="))
        if not (name and equals):
            raise SwatcostError(f"{entry.strip()!r:.60} in {text!r:.80}: give name=sparsity, such as attention=0.5")
        if name in found:
            raise SwatcostError(f"{text!r:.80} has {name!r:.60} twice: give one of them")
        try:
            found[name] = fraction_from(number)
        except SwatcostError as error:
            raise SwatcostError(f"{text!r:.80}: {name!r:.60}: {error}") from None
    return found


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


def by_weight(request: Request, rows: Mapping[str, Row], column: str) -> dict[str, float]:
    """A column's number for each layer, by weight: from the layer's own name, or else from the first matching pattern,
    or else from the kind of its matrix.

    rows are those of the request's source. Raises SwatcostError for an unknown column, for a name, pattern or kind that
    matches no layer, and for a layer that stands there under its own name and that of its weight.
    """
    table, layers = named(request.source), request.layers
    for place, row in rows.items():
        if unknown := row.keys() - set(COLUMNS):
            name = min(unknown)
            raise SwatcostError(f"{table}: the column {name!r:.40} of {place!r:.60}: {nearest(name, COLUMNS)}")
    names = {name for layer in layers for name in (layer.name, layer.weight)}
    patterns = [each for each in rows if each not in names or not _WILDCARDS.isdisjoint(each)]
    for pattern in patterns:
        if not layers_named(request, pattern):
            raise SwatcostError(f"{table}: {pattern!r:.80} matches no layer: {_remedy(request, pattern)}")
    found: dict[str, float] = {}
    for layer in layers:
        own = [name for name in dict.fromkeys((layer.name, layer.weight)) if column in rows.get(name, ())]
        if len(own) > 1:
            raise SwatcostError(f"{table}: {own[0]!r:.80} and {own[1]!r:.80} are the same layer: give one of them")
        matching = (each for each in patterns if _matches(layer, each))
        for pattern in [*own, *matching, request.kinds.get(layer.weight, "")]:
            if column in rows.get(pattern, ()):
                found[layer.weight] = rows[pattern][column]
                break
    return found


def layers_named(request: Request, name: str) -> list[Layer]:
    """The layers that a name or pattern matches, or else those whose matrix is of the kind of this name."""
    return [layer for layer in request.layers if _matches(layer, name)] or [
        layer for layer in request.layers if request.kinds.get(layer.weight) == name
    ]


def _remedy(request: Request, name: str) -> str:
    if name in MATRIX_KINDS:
        return none_of_kind(name, "the network")
    close = nearest(name, list(MATRIX_KINDS))
    some = ", ".join(layer.name for layer in request.layers[:4])
    return close if close.startswith("did you mean") else f"the layers are {some}, …"


def named(source: Any) -> str:
    """A table's name in messages."""
    return "the mapping" if isinstance(source, Mapping) else str(source)


def _matches(layer: Layer, pattern: str) -> bool:
    return any(pattern == name or fnmatchcase(name, pattern) for name in (layer.name, layer.weight))
