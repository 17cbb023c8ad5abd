"""Tables of numbers by layer: CSV, JSON and YAML files, or a mapping, with names or patterns of layers."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from swatcost.errors import SwatcostError
from swatcost.layer import Layer

Row = dict[str, float]


def read_table(source: Any) -> dict[str, Row]:
    """Reads {layer name or pattern: {column: number}}.

    A CSV file has a column `layer` and columns of numbers; JSON, YAML and mappings hold a number for each layer,
    which becomes the column `weights`, or an object of columns. Nothing in a file is executed.

    Raises SwatcostError when it cannot be read or holds something else.
    """
    if isinstance(source, Mapping):
        return _rows(source, "the mapping")
    if not isinstance(source, str | Path):
        raise SwatcostError(f"{source!r:.60} is no table: give a .csv, .json or .yaml file, or a mapping by layer")
    path = Path(source)
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".csv":
            data: Any = {row.pop("layer"): row for row in csv.DictReader(io.StringIO(text))}
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
        raise SwatcostError(f"{path} is no usable table: {error}") from None
    except Exception as error:
        if type(error).__module__.startswith("yaml"):
            raise SwatcostError(f"{path} is no usable table: {error}") from None
        raise
    return _rows(data, str(path))


def _rows(data: Any, name: str) -> dict[str, Row]:
    if not isinstance(data, Mapping) or not data:
        raise SwatcostError(f"{name} holds no numbers by layer")
    rows: dict[str, Row] = {}
    for layer, value in data.items():
        columns = value if isinstance(value, Mapping) else {"weights": value}
        try:
            rows[str(layer)] = {str(key): float(number) for key, number in columns.items() if number not in (None, "")}
        except (TypeError, ValueError):
            raise SwatcostError(f"{name}: {value!r:.60} of layer {layer!r} is no number") from None
    return rows


def by_weight(rows: Mapping[str, Row], column: str, layers: Sequence[Layer]) -> dict[str, float]:
    """A column's number for each layer, by weight; of several patterns that match a layer the last one counts.

    Raises SwatcostError for a name or pattern that matches no layer.
    """
    found: dict[str, float] = {}
    for pattern, row in rows.items():
        matches = [layer for layer in layers if fnmatchcase(layer.name, pattern) or fnmatchcase(layer.weight, pattern)]
        if not matches:
            names = ", ".join(layer.name for layer in layers[:4])
            raise SwatcostError(f"{pattern!r} matches no layer: there are {names}, …")
        if column in row:
            found |= {layer.weight: row[column] for layer in matches}
    return found
