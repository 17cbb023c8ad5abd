"""Tables of numbers by layer name or pattern: CSV, JSON and YAML files, or a mapping."""

import csv
import io
import json
import reprlib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from swatcost.common.errors import SwatcostError
from swatcost.common.printing import uncelled
from swatcost.common.record import read_record
from swatcost.network.layer import Layer

Row = dict[str, float]


def read_table(source: Any) -> dict[str, Row]:
    """Reads {layer name or pattern: {column: number}}.

    A CSV file has a column `layer` and columns of numbers; JSON, YAML and mappings have, for each layer, an object of
    columns or one number, which becomes the column `weights`. The record of a run (.jsonl) has columns weights, acts,
    zeros and share. Nothing in a file is executed.

    Raises SwatcostError if it cannot be read or is not such a table.
    """
    if isinstance(source, Mapping):
        return _rows(source, "the mapping")
    if not isinstance(source, str | Path):
        raise SwatcostError(
            f"{reprlib.repr(source)} is not a table: give a .csv, .json or .yaml file, or a mapping by layer"
        )
    path = Path(source)
    if path.suffix == ".jsonl":
        return read_record(path).by_layer()
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".csv":
            data: Any = _csv(text)
        elif path.suffix in (".yaml", ".yml"):
            import yaml

            data = yaml.safe_load(text)
        else:
            data = json.loads(text)
    except OSError as error:
        raise SwatcostError(f"cannot read {path}: {error.strerror}") from None
    except KeyError:
        raise SwatcostError(f"{path} has no column called layer") from None
    except (ValueError, RecursionError, csv.Error) as error:
        raise SwatcostError(f"{path} is not a usable table: {error}") from None
    except Exception as error:
        if type(error).__module__.startswith("yaml"):
            raise SwatcostError(f"{path} is not a usable table: {error}") from None
        raise
    return _rows(data, str(path))


def _csv(text: str) -> dict[str, dict[str, str]]:
    header, *lines = csv.reader(io.StringIO(text), skipinitialspace=True)
    names = [name.strip() for name in header]
    rows = [dict(zip(names, line, strict=False)) for line in lines if any(cell.strip() for cell in line)]
    return {uncelled(row.pop("layer").strip()): row for row in rows}


def _rows(data: Any, name: str) -> dict[str, Row]:
    if not isinstance(data, Mapping) or not data:
        raise SwatcostError(f"{name} has no numbers by layer")
    rows: dict[str, Row] = {}
    for layer, value in data.items():
        columns = value if isinstance(value, Mapping) else {"weights": value}
        try:
            rows[str(layer)] = {str(key): float(number) for key, number in columns.items() if number not in (None, "")}
        except (TypeError, ValueError, OverflowError):
            raise SwatcostError(f"{name}: {reprlib.repr(value)} for layer {layer!r:.60} is not a number") from None
        if not rows[str(layer)]:
            raise SwatcostError(f"{name} has no number for layer {layer!r:.60}")
    return rows


def by_weight(rows: Mapping[str, Row], column: str, layers: Sequence[Layer]) -> dict[str, float]:
    """A column's number for each layer, by weight: from the layer's own name, or else from the first matching pattern.

    Raises SwatcostError for a name or pattern that matches no layer.
    """
    for pattern in rows:
        if not any(_matches(layer, pattern) for layer in layers):
            names = ", ".join(layer.name for layer in layers[:4])
            raise SwatcostError(f"{pattern!r:.80} matches no layer: the layers are {names}, …")
    found: dict[str, float] = {}
    for layer in layers:
        own = [pattern for pattern in rows if pattern in (layer.name, layer.weight)]
        for pattern in [*own, *(each for each in rows if _matches(layer, each))]:
            if column in rows[pattern]:
                found[layer.weight] = rows[pattern][column]
                break
    return found


def _matches(layer: Layer, pattern: str) -> bool:
    return any(pattern == name or fnmatchcase(name, pattern) for name in (layer.name, layer.weight))
