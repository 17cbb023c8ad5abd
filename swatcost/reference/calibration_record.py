"""The record of a calibration: JSON lines, one per finished measurement, from which an interrupted one goes on."""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import msgspec

from swatcost.common.errors import SwatcostError
from swatcost.common.files import append_whole, cannot_write
from swatcost.common.reading import LARGEST_RECORD, Share, json_of, lines_of

SCHEMA = "swatcost.calibration-record/1"


class Result(msgspec.Struct, frozen=True):
    """What was measured, as plain data, and the share of the processors that other programs had meanwhile [-]."""

    value: Any
    others: float


Results = dict[str, Result]
"""Results by the measurement's key."""


class Conditions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What measurements can be compared under: the record's first line."""

    schema: str = SCHEMA
    machine: str
    torch: str
    threads: int
    on: str


class _Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    key: str
    result: Any
    others: Share = 0.0


@contextmanager
def recording(
    path: Path | None, conditions: Conditions
) -> Iterator[tuple[Results, Callable[[str, object, float], None]]]:
    """The results of a record, and a function that appends one; one process at a time.

    Raises SwatcostError for a file that is not a record, or was made under other conditions.
    """
    if path is None:
        yield {}, lambda key, result, others: None
        return
    with _opened(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SwatcostError(f"{path}: another calibration is writing it") from None
        results = _read(file, path, conditions)

        def write(key: str, result: object, others: float) -> None:
            line = _Line(key=key, result=result, others=min(1.0, round(others, 4)))
            append_whole(file.fileno(), msgspec.json.encode(line) + b"\n", path)

        yield results, write


def _opened(path: Path) -> TextIO:
    try:
        if path.exists() and not path.is_file():
            raise SwatcostError(f"{path} is not a file that a calibration can go on from: choose another")
        return open(path, "a+", encoding="utf-8")
    except (OSError, ValueError) as error:
        raise cannot_write(path, error) from None


def _read(file: TextIO, path: Path, conditions: Conditions) -> Results:
    """A record's results, after writing the first line of a new record or cutting off an unfinished line."""
    file.seek(0)
    content = file.buffer.read(LARGEST_RECORD + 1)
    if len(content) > LARGEST_RECORD:
        raise SwatcostError(f"cannot read {path}: it has more than {LARGEST_RECORD:,} bytes, the limit")
    other = SwatcostError(f"{path} is not the record of a calibration: choose another file")
    whole = content[: content.rfind(b"\n") + 1]
    header = msgspec.json.encode(conditions) + b"\n"
    try:
        first, *lines = lines_of(whole.decode(), json_of) or [None]
    except UnicodeDecodeError:
        raise other from None
    except ValueError as error:
        raise SwatcostError(f"{path} is a damaged record of a calibration: {error}") from None
    if first is None:
        if content and not header.startswith(content):  # unless it is an unfinished first line
            raise other
        os.ftruncate(file.fileno(), 0)
        append_whole(file.fileno(), header, path)
        return {}
    if not isinstance(first, dict) or first.get("schema") != SCHEMA:
        raise other
    _check(path, first, json.loads(header))
    results = _results(path, lines)
    os.ftruncate(file.fileno(), len(whole))
    return results


_WORDS = {"machine": "machine", "torch": "torch version", "threads": "number of threads", "on": "device"}


def _check(path: Path, found: dict[str, Any], here: dict[str, Any]) -> None:
    """Raises SwatcostError for the first of the conditions that differs."""
    for name, words in _WORDS.items():
        if found.get(name) != here[name]:
            raise SwatcostError(
                f"{path} has measurements of another {words}: {found.get(name)!r:.80}, here {here[name]!r}; "
                "choose another file"
            )


def _results(path: Path, lines: list[Any]) -> Results:
    results: Results = {}
    for number, line in enumerate(lines, 2):
        try:
            found = msgspec.convert(line, _Line)
        except ValueError as error:
            raise SwatcostError(f"{path} is a damaged record of a calibration: line {number}: {error}") from None
        results[found.key] = Result(found.result, found.others)  # measured twice: the later one
    return results
