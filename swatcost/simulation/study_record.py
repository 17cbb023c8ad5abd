"""The record of a study: its rows, which are written as they arrive and read when an interrupted study resumes."""

import fcntl
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TextIO

import msgspec

from swatcost.common.errors import SwatcostError
from swatcost.common.files import append_whole, cannot_write
from swatcost.common.reading import LARGEST_RECORD, Amount, Share, Sparsity, json_of, lines_of
from swatcost.setting import OPTIONS

SCHEMA = "swatcost.study/2"
_IDENTIFYING = ("model", "network", "architecture", "shape", "weights", "acts", "seed")

Row = dict[str, Any]


class _Row(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A row as a record has it."""

    model: str
    network: str
    architecture: str
    shape: str
    weights: Sparsity
    acts: Sparsity | None
    seed: Annotated[int, msgspec.Meta(ge=0)]
    forward_speedup: Amount
    grad_input_speedup: Amount
    grad_weight_speedup: Amount
    training_speedup: Amount
    step_speedup: Amount
    dense_step_cycles: Amount
    step_cycles: Amount
    utilisation: Share


def task_key(row: Row) -> str:
    """What distinguishes a task's row from those of the other tasks."""
    return json.dumps([row[name] for name in _IDENTIFYING])


@contextmanager
def recording(path: Path | None, header: Row) -> Iterator[tuple[list[Row], Callable[[Row], None]]]:
    """The rows of a record, and a function that appends one; one process at a time."""
    if path is None:
        yield [], lambda row: None
        return
    try:
        if path.exists() and not path.is_dir() and not path.is_file():
            raise SwatcostError(f"{path} is not a file that a study can resume from: choose another")
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115
    except SwatcostError:
        raise
    except (OSError, ValueError) as error:
        raise cannot_write(path, error) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SwatcostError(f"{path}: another study is writing it") from None
        rows = _read(file, path, header)

        def write(row: Row) -> None:
            append_whole(file.fileno(), f"{json.dumps(row)}\n".encode(), path)

        yield rows, write


def _read(file: TextIO, path: Path, header: Row) -> list[Row]:
    """A record's rows, after writing the header of a new record or cutting off an unfinished line."""
    file.seek(0)
    try:
        content = file.buffer.read(LARGEST_RECORD + 1)
        text = content.decode()
    except UnicodeDecodeError:
        raise SwatcostError(f"{path} is not a record of a study: choose another file") from None
    if len(content) > LARGEST_RECORD:
        raise SwatcostError(f"cannot read {path}: it has more than {LARGEST_RECORD:,} bytes, the limit")
    whole = text[: text.rfind("\n") + 1]
    damaged = f"{path} is a damaged record of a study: move it away"
    try:
        lines = lines_of(text, json_of)
    except ValueError as error:
        raise SwatcostError(f"{damaged}: {error}") from None
    if not lines and not json.dumps(header).startswith(text):  # unless it is an unfinished header
        raise SwatcostError(f"{path} is not a record of a study: choose another file")
    if lines and (not isinstance(lines[0], dict) or lines[0].get("schema") != SCHEMA):
        raise SwatcostError(f"{path} is not a record of a study: choose another file")
    if lines and _without_defaults(lines[0]) != _without_defaults(json.loads(json.dumps(header))):
        raise SwatcostError(f"{path} records a study with other settings or another architecture: choose another file")
    found: set[str] = set()
    for number, row in enumerate(lines[1:], 2):
        try:
            msgspec.convert(row, _Row)
        except ValueError as error:
            raise SwatcostError(f"{damaged}: line {number}: {error}") from None
        if task_key(row) in found:
            raise SwatcostError(f"{damaged}: line {number}: its simulation stands there twice")
        found.add(task_key(row))
    if len(whole) < len(text):
        file.truncate(len(whole.encode()))
    if not lines:
        append_whole(file.fileno(), f"{json.dumps(header)}\n".encode(), path)
    return lines[1:]


def _without_defaults(header: Row) -> Row:
    """A header without the settings that are at their defaults."""
    given = header.get("settings")
    if not isinstance(given, dict):
        return header
    known = {name: option.default for name, option in OPTIONS.items()}
    return header | {"settings": {name: value for name, value in given.items() if value != known.get(name)}}
