"""Files that others wrote: opened with a limit, and checked in every value. Nothing in them is executed.

Each kind of file is read by `read`, whose parser is one of this module's (`json_of`, `toml_of`, `yaml_of`, `csv_of`, or
`lines_of` for JSON lines), with `typed` where the content has a fixed form.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import stat
import tomllib
import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import msgspec

from swatcost.common.errors import SwatcostError, SwatcostWarning, first_line
from swatcost.common.frozen_mapping import FrozenMapping
from swatcost.common.registry import nearest
from swatcost.common.units import NUMBER

T = TypeVar("T")

MIB = 2**20
LARGEST_SETTINGS = MIB  # config files, devices and architectures
LARGEST_TABLE = 4 * MIB
LARGEST_YAML = MIB // 4  # it is read slowly
LARGEST_JSON = 128 * MIB  # traces and saved estimates
LARGEST_RECORD = 256 * MIB
_DEEPEST = 32  # levels of tables and lists; a trace has 5
_REASONS = (ValueError, OverflowError, RecursionError, csv.Error)

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
"""A fraction [-]."""

Sparsity = Annotated[float, msgspec.Meta(ge=0, lt=1)]
"""A fraction of zeros [-], of which something is left."""

Amount = Annotated[float, msgspec.Meta(ge=0, le=1e30)]
"""A time, a magnitude or another number that is not negative."""


def read_bytes(path: str | Path, limit: int, *, growing: bool = False) -> bytes:
    """The content of a regular file, at most `limit` bytes.

    A file that is `growing` may be appended to meanwhile: what was there at the beginning is read. Raises SwatcostError
    for a folder, device or pipe, and for a file that cannot be read, is too large or changes meanwhile.
    """
    if os.path.realpath(path) == os.devnull:
        return b""
    with _opened(path) as file:
        before = os.fstat(file.fileno())
        if before.st_size > limit:
            raise SwatcostError(f"cannot read {path}: it has {before.st_size:,} bytes, and the limit is {limit:,}")
        content = file.read(before.st_size)
        after = os.fstat(file.fileno())
    larger = growing and after.st_size > before.st_size
    if len(content) < before.st_size or (after.st_mtime_ns != before.st_mtime_ns and not larger):
        raise SwatcostError(f"cannot read {path}: it changed while it was read, try again")
    return content


def check_regular(path: str | Path) -> int:
    """The size of a regular file that may be read [bytes]. Raises SwatcostError for anything else."""
    with _opened(path) as file:
        return os.fstat(file.fileno()).st_size


def _opened(path: str | Path) -> io.FileIO:
    """An open regular file. Opening a pipe does not wait for its other end."""
    try:
        file = io.FileIO(os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0)))
    except (OSError, ValueError) as error:
        raise SwatcostError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    mode = os.fstat(file.fileno()).st_mode
    if not stat.S_ISREG(mode):
        file.close()
        reason = "Is a directory" if stat.S_ISDIR(mode) else "it is a device or a pipe, give a regular file"
        raise SwatcostError(f"cannot read {path}: {reason}")
    return file


def read(
    path: str | Path, noun: str, parse: Callable[[str], T], limit: int, *, growing: bool = False, closed: bool = True
) -> T:
    """What `parse` makes of a file's text, which is UTF-8 with or without a byte order mark.

    Text that is not `closed`, such as CSV, is still valid when it is cut short: a warning says so if its last line does
    not end. Raises SwatcostError, which names the file, if it cannot be read, or parse raises ValueError: it is then
    not a usable `noun`.
    """
    content = read_bytes(path, limit, growing=growing)
    found = parsed(content, f"{path} is not a usable {noun}", parse)
    if not closed and content.rstrip(b" \t")[-1:] not in (b"\n", b"\r", b""):
        warn(f"{path} does not end with a line break: its last line may be cut short")
    return found


def warn(text: str) -> None:
    """Says on standard error, or as a Python warning, what a caller should know of a file."""
    warnings.warn(text, SwatcostWarning, stacklevel=2)


def parsed(content: bytes, refusal: str, parse: Callable[[str], T]) -> T:
    """What `parse` makes of UTF-8 text. Raises SwatcostError, which begins with `refusal`."""
    try:
        return parse(content.decode("utf-8-sig"))
    except SwatcostError:
        raise
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SwatcostError(f"{refusal}: line {line}: it is not UTF-8 text") from None
    except RecursionError:
        raise SwatcostError(f"{refusal}: it is nested too deeply") from None
    except _REASONS as error:
        raise SwatcostError(f"{refusal}: {first_line(error)}") from None


def json_of(text: str) -> Any:
    """The value of a JSON text. Raises ValueError for invalid JSON, a key given twice, and NaN or Infinity."""
    return _checked(json.loads(text, object_pairs_hook=_once, parse_constant=_refuse_constant))


def mapping_of(text: str) -> dict[str, Any]:
    """The object of a JSON text, in which NaN and Infinity, if any, are {"__float__": name}: JSON has no such numbers.

    Raises ValueError for invalid JSON, a key given twice, and a value that is not an object.
    """
    content = _checked(json.loads(text, object_pairs_hook=_once, parse_constant=lambda name: {"__float__": name}))
    if not isinstance(content, dict):
        raise ValueError("it is not an object of names and values")
    return content


def lines_of(text: str, parse: Callable[[str], T]) -> list[T]:
    """What `parse` makes of each line but an unfinished last one. Raises ValueError, which names the line."""
    *lines, _ = text.split("\n")
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(parse(line))
        except RecursionError:
            raise ValueError(f"line {number}: it is nested too deeply") from None
        except _REASONS as error:
            raise ValueError(f"line {number}: {first_line(error)}") from None
    return found


def toml_of(text: str) -> dict[str, Any]:
    """The table of a TOML text. Raises ValueError for invalid TOML and numbers that are not finite."""
    try:
        content: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"it is not valid TOML: {error}") from None
    return dict(_checked(content))


def yaml_of(text: str) -> Any:
    """The value of a YAML text, of which unquoted numbers are numbers and everything else is text.

    YAML's own rules make 1_0, yes and 1:30 numbers. Raises ValueError for invalid YAML and a key given twice.
    """
    import yaml

    class Loader(yaml.BaseLoader):
        """Text, numbers, lists and mappings: a tag, which would make something else, is refused."""

    def scalar(loader: yaml.BaseLoader, node: yaml.ScalarNode) -> Any:
        if node.style is None and node.value in ("", "~", "null"):
            return None
        return float(node.value) if node.style is None and NUMBER.fullmatch(node.value) else node.value

    def mapping(loader: yaml.BaseLoader, node: yaml.MappingNode) -> Any:
        return _once((key.value, loader.construct_object(each, True)) for key, each in node.value)

    def refuse(loader: yaml.BaseLoader, node: yaml.Node) -> None:
        raise ValueError(f"line {node.start_mark.line + 1}: the tag {node.tag!r:.60} is not read")

    if re.search(rf"([\[{{]\s*){{{_DEEPEST + 1}}}", text):  # which takes the parser seconds
        raise ValueError("it is nested too deeply")
    constructors: dict[str, Any] = {"str": scalar, "map": mapping, "seq": yaml.BaseLoader.construct_sequence}
    for kind, construct in constructors.items():
        Loader.add_constructor(f"tag:yaml.org,2002:{kind}", construct)
    Loader.add_constructor(None, refuse)
    try:
        return _checked(yaml.load(text, Loader))
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None


def csv_of(text: str, key: str) -> dict[str, dict[str, str]]:
    """The rows of a CSV text by the column `key`, without it; an empty row is left out.

    Raises ValueError for a column or key that stands there twice or not at all, and for a row with more cells than
    columns.
    """
    rows: dict[str, dict[str, str]] = {}
    for line, name, row in csv_rows(text, key):
        if name in rows:
            raise ValueError(f"line {line}: the {key} {name!r:.60} stands there twice")
        rows[name] = row
    return rows


def csv_rows(text: str, key: str) -> Iterator[tuple[int, str, dict[str, str]]]:
    """The number of each line of a CSV text, its cell in the column `key`, and the others by column.

    An empty row is left out. Raises ValueError for a column that stands there twice, for a missing `key`, and for a row
    with more cells than columns.
    """
    lines = csv.reader(io.StringIO(text), skipinitialspace=True, strict=True)
    names = [name.strip(" \t") for name in next(lines, [])]
    if key not in names:
        raise ValueError(f"it has no column called {key}")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"line 1: the column {twice!r:.40} stands there twice")
    for line in lines:
        cells = [cell.strip(" \t") for cell in line]
        if len(cells) > len(names):
            raise ValueError(f"line {lines.line_num}: {len(cells)} cells in {len(names)} columns")
        if not any(cells):
            continue
        row = dict(zip(names, cells, strict=False))
        name = row.pop(key, "")
        if not name:
            raise ValueError(f"line {lines.line_num}: its {key} is missing")
        yield lines.line_num, name, row


def number_of(text: str) -> float:
    """A finite number from ASCII digits. Raises ValueError for 1_0, nan, and digits of other scripts.

    >>> number_of("0.5"), number_of("5e-1")
    (0.5, 0.5)
    """
    if not NUMBER.fullmatch(text) or not math.isfinite(value := float(text)):
        raise ValueError(f"{text!r:.40} is not a number")
    return value


def typed(content: Any, of: Any, written: Mapping[Any, Iterable[str]] = FrozenMapping({})) -> Any:
    """The content of a JSON or TOML text as an instance of this dataclass or structure.

    `written` names the keys that a table of each class has in every file although the class has a default for them.
    Raises ValueError for keys that are unknown or missing, at any depth, and for values of another type or out of
    bounds.
    """
    _check_keys(content, of, written, "")
    return msgspec.convert(content, of)


def _once(pairs: Iterable[tuple[Hashable, Any]]) -> dict[Any, Any]:
    """A table of these keys and values. Raises ValueError if a key stands there twice."""
    found: dict[Any, Any] = {}
    for key, value in pairs:
        if not isinstance(key, str) or key in found:
            raise ValueError(f"the key {key!r:.60} {'stands there twice' if isinstance(key, str) else 'is not text'}")
        found[key] = value
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def _checked(content: Any) -> Any:
    """The content. Raises ValueError if it is nested too deeply or has a number that is not finite."""
    level, depth, seen = [content], 0, set[int]()
    while level:
        if depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
        below: list[Any] = []
        for each in level:
            if isinstance(each, dict | list):
                if id(each) not in seen:  # an alias of YAML stands for what was checked already
                    seen.add(id(each))
                    below += each.values() if isinstance(each, dict) else each
            elif isinstance(each, float | int) and not math.isfinite(each):
                raise ValueError(f"{each!r} is not a number that can be used")
        level, depth = below, depth + 1
    return content


def _check_keys(given: Any, of: Any, written: Mapping[Any, Iterable[str]], place: str) -> None:
    """Raises ValueError for the first key, at any depth, that is unknown or missing."""
    kind = _class_of(of)
    if kind is None:
        return
    if isinstance(given, list):
        for number, each in enumerate(given, 1):
            _check_keys(each, of, written, f"{place} {number}")
    elif isinstance(given, dict):
        known, where = _hints(kind), f" in {place}" if place else ""
        for key, value in given.items():
            if key not in known:
                raise ValueError(f"{key!r:.40}{where}: {nearest(key, list(known))}")
            if isinstance(value, dict | list):
                _check_keys(value, known[key], written, f"{place}.{key}".lstrip("."))
        for key in written.get(kind, ()):
            if key not in given:
                raise ValueError(f"the key {key!r}{where} is missing")


@cache
def _class_of(of: Any) -> Any:
    """The dataclass or structure that this is, an optional one is, or a tuple of them has; None for other types."""
    kinds = (each for each in (of, *get_args(of)) if isinstance(each, type))
    return next((each for each in kinds if is_dataclass(each) or issubclass(each, msgspec.Struct)), None)


_hints = cache(get_type_hints)
