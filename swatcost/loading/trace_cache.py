"""Traces kept on disk, so that a network is traced once.

An entry is found by what was asked for and by the versions that trace it, and used while every file that was read in
making it is as it was. Entries are data; a damaged one is made anew.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, Literal

import msgspec
from platformdirs import user_cache_path

from swatcost.common.errors import SwatcostError
from swatcost.common.files import write_atomically
from swatcost.network import SCHEMA, Network
from swatcost.network.formulas import ENTRY_POINTS as FORMULAS
from swatcost.version import __version__

DIRECTORY_VARIABLE = "SWATCOST_CACHE_DIR"
_MOST_ENTRIES = 200
_PACKAGE = Path(__file__).parent.parent
_PACKAGES = "site-packages"


class Entry(msgspec.Struct):
    """A trace, what was asked for, and the digests of the files that it was made from, by path."""

    schema: Literal["swatcost.cache/1"]
    key: dict[str, Any]
    files: dict[str, str]
    network: Network


def directory() -> Path | None:
    """Where entries are kept: what SWATCOST_CACHE_DIR says, nowhere if that is empty, or the user's cache."""
    told = os.environ.get(DIRECTORY_VARIABLE)
    if told is not None:
        return Path(told) if told else None
    try:
        return user_cache_path("swatcost", appauthor=False)
    except RuntimeError:  # there is no home folder
        return None


def versions() -> dict[str, Any]:
    """What, beside the network's own source, decides what a trace says."""
    from importlib.metadata import entry_points

    return {
        "formulas": sorted((entry.name, entry.value) for entry in entry_points(group=FORMULAS)),
        "swatcost": __version__,
        "schema": SCHEMA,
        "sources": _digest_of(*(_PACKAGE / room for room in ("loading", "network", "tracing"))),
        "python": sys.version,
        "prefix": sys.prefix,
        "path": [os.path.abspath(each) for each in sys.path],
        "torch": _torch_version(),
    }


def _torch_version() -> str:
    """The text of torch's version file, without importing torch."""
    spec = PathFinder.find_spec("torch")
    places = spec.submodule_search_locations if spec is not None else None
    return _digest(Path(places[0]) / "version.py") if places else ""


def read(key: Mapping[str, Any]) -> Network | None:
    """The trace kept under this key, unless a file that it was made from has changed."""
    path = _place(key)
    if path is None:
        return None
    try:
        entry = msgspec.json.decode(path.read_bytes(), type=Entry) if path.is_file() else None
    except (OSError, ValueError, RecursionError):
        return None
    if entry is None:
        return None
    fresh = all(_digest(Path(name)) == digest for name, digest in entry.files.items())
    return entry.network if fresh else None


def write(key: Mapping[str, Any], network: Network, files: FilesRead, started: int) -> None:
    """Keeps a trace and forgets the oldest ones; what cannot be written is not kept.

    Nothing is kept if a file has changed since it was read, as far as that can be known: in making the trace, or, for
    a module that was loaded before, at `started` [ns].
    """
    path = _place(key)
    opened, loaded = files.sources()
    if path is None or any(_changed_at(each) > files.began for each in opened):
        return
    if any(_changed_at(each) > started for each in loaded):
        return
    digests = {name: _digest(Path(name)) for name in sorted(opened | loaded)}
    entry = Entry(schema="swatcost.cache/1", key=dict(key), files=digests, network=network)
    with contextlib.suppress(OSError, SwatcostError, UnicodeEncodeError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, msgspec.json.encode(entry).decode())
        own = [each for each in path.parent.glob("*.json") if re.fullmatch("[0-9a-f]{32}", each.stem)]
        for oldest in sorted(own, key=lambda each: each.stat().st_mtime_ns)[: -_MOST_ENTRIES or None]:
            oldest.unlink(missing_ok=True)


def _place(key: Mapping[str, Any]) -> Path | None:
    kept_in = directory()
    name = blake2b(ascii(sorted(key.items())).encode(), digest_size=16).hexdigest()
    return kept_in / f"{name}.json" if kept_in else None


def _changed_at(name: str) -> float:
    """When the file was changed [ns]."""
    try:
        return os.stat(name).st_mtime_ns
    except (OSError, ValueError):
        return 0  # it is not there, which is what is kept of it


def _digest(path: Path) -> str:
    try:
        return blake2b(path.read_bytes(), digest_size=16).hexdigest() if path.is_file() else "missing"
    except (OSError, ValueError):
        return "missing"


def _digest_of(*places: Path) -> str:
    files = sorted(each for place in places for each in place.glob("*.py"))
    return blake2b("".join(map(_digest, files)).encode(), digest_size=16).hexdigest()


@dataclass(eq=False)
class FilesRead:
    """The files that the process opened for reading while this was followed, and when that began [ns]."""

    names: set[str] = field(default_factory=set)
    began: int = field(default_factory=time.time_ns)

    def sources(self) -> tuple[set[str], set[str]]:
        """The files among them outside of Python, torch and swatcost, and those of the user's modules loaded before.

        A compiled module counts by its source.
        """
        apart = _apart()
        opened = {os.path.abspath(_source(name)) for name in self.names}
        loaded = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
        own = {os.path.abspath(_source(name)) for name in loaded if name and _PACKAGES not in name}
        matter = [{path for path in each if _matters(path, apart)} for each in (opened, own - opened)]
        return matter[0], matter[1]


_LISTENING: list[FilesRead] = []


@contextlib.contextmanager
def followed() -> Iterator[FilesRead]:
    """Follows which files are read, by an audit hook that stays installed and idle afterwards."""
    _install()
    files = FilesRead()
    _LISTENING.append(files)
    try:
        yield files
    finally:
        _LISTENING.remove(files)


@functools.cache
def _install() -> None:
    sys.addaudithook(_hear)


def _hear(event: str, args: tuple[Any, ...]) -> None:
    if _LISTENING and event == "open" and isinstance(args[0], str | bytes):
        reads = not isinstance(args[1], str) or "+" in args[1] or set(args[1]).isdisjoint("wax")
        for files in _LISTENING if reads else ():
            files.names.add(os.fsdecode(args[0]))


def _apart() -> tuple[str, ...]:
    """Where the files are that versions speak for."""
    spec = PathFinder.find_spec("torch")
    torch = tuple(spec.submodule_search_locations or ()) if spec is not None else ()
    return (os.path.abspath(_PACKAGE), *torch, "/proc/", "/sys/", "/dev/")


def _matters(path: str, apart: tuple[str, ...]) -> bool:
    """Whether a trace may depend on the file beyond what the versions say."""
    of_python = path.startswith(os.path.dirname(os.__file__) + os.sep) and _PACKAGES not in path
    regular = os.path.isfile(path) or not os.path.exists(path)  # one that is missing may come
    return regular and not of_python and not path.startswith(apart)


def _source(name: str) -> str:
    if name.endswith(".pyc"):
        from importlib.util import source_from_cache

        with contextlib.suppress(ValueError):
            return source_from_cache(name)
    return name
