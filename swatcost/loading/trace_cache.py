"""Traces cached on disk, so that a network is traced once.

An entry's key is the request and the versions involved; it is valid while every file that was read to make it is
unchanged. Entries are data; one that is damaged or in another's place is replaced.
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

from swatcost.common.errors import SwatcostError, first_line
from swatcost.common.files import write_atomically
from swatcost.common.reading import LARGEST_JSON, read_bytes, warn
from swatcost.network import SCHEMA, Network
from swatcost.network.formulas import ENTRY_POINTS as FORMULAS
from swatcost.version import __version__

DIRECTORY_VARIABLE = "SWATCOST_CACHE_DIR"
_MOST_ENTRIES = 200
_PACKAGE = Path(__file__).parent.parent
_PACKAGES = "site-packages"


class Entry(msgspec.Struct):
    """A trace, its request, and the digests of the files that it was made from, by path."""

    key: dict[str, Any]
    files: dict[str, str]
    network: Network


class _File(msgspec.Struct, forbid_unknown_fields=True):
    """The JSON of an entry, and its digest: a damaged entry may still be a trace."""

    schema: Literal["swatcost.cache/2"]
    digest: str
    entry: msgspec.Raw


def directory() -> Path | None:
    """The cache's folder: $SWATCOST_CACHE_DIR (if empty, there is no cache), or else the user's cache."""
    configured = os.environ.get(DIRECTORY_VARIABLE)
    if configured is not None:
        return Path(configured) if configured else None
    try:
        return user_cache_path("swatcost", appauthor=False)
    except RuntimeError:  # there is no home folder
        return None


def versions() -> dict[str, Any]:
    """Everything besides the network's own source that a trace depends on."""
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
    """A digest of torch's version file, without importing torch."""
    spec = PathFinder.find_spec("torch")
    places = spec.submodule_search_locations if spec is not None else None
    return _digest(Path(places[0]) / "version.py") if places else ""


def version_of(package: str) -> str:
    """The version of an installed package; empty if it is not."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def read(key: Mapping[str, Any]) -> Network | None:
    """The trace cached under this key; None if there is none or a file that it was made from has changed.

    An entry that is damaged, or is of another request, is not used, and a line says so.
    """
    path = _place(key)
    if path is None or not os.path.exists(path):
        return None
    try:
        entry = _entry(read_bytes(path, LARGEST_JSON))
        if msgspec.json.encode(entry.key) != msgspec.json.encode(dict(key)):
            raise ValueError("it is of another request")
    except (ValueError, RecursionError) as error:
        warn(f"the trace cache's entry {path} is not used: {first_line(error)}")
        return None
    fresh = all(_digest(Path(name)) == digest for name, digest in entry.files.items())
    return entry.network if fresh else None


def _entry(content: bytes) -> Entry:
    file = msgspec.json.decode(content, type=_File)
    if file.digest != _digest_of_bytes(bytes(file.entry)):
        raise ValueError("it is damaged")
    return msgspec.json.decode(file.entry, type=Entry)


def write(key: Mapping[str, Any], network: Network, files: FilesRead, started: int) -> None:
    """Caches a trace and removes the oldest ones; failures to write are ignored.

    Nothing is cached if a file may have changed after it was read: one read while tracing, since tracing began; one
    of a module loaded earlier, since `started` [ns].
    """
    path = _place(key)
    opened, loaded = files.sources()
    if path is None or any(_changed_at(each) > files.began for each in opened):
        return
    if any(_changed_at(each) > started for each in loaded):
        return
    digests = {name: _digest(Path(name)) for name in sorted(opened | loaded)}
    if os.path.exists(path) and not path.is_file():
        return
    with contextlib.suppress(OSError, SwatcostError, UnicodeEncodeError):
        entry = msgspec.json.encode(Entry(key=dict(key), files=digests, network=network))
        file = _File(schema="swatcost.cache/2", digest=_digest_of_bytes(entry), entry=msgspec.Raw(entry))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, msgspec.json.encode(file).decode())
        own = [each for each in path.parent.glob("*.json") if re.fullmatch("[0-9a-f]{32}", each.stem)]
        for oldest in sorted(own, key=lambda each: each.stat().st_mtime_ns)[: -_MOST_ENTRIES or None]:
            oldest.unlink(missing_ok=True)


def _place(key: Mapping[str, Any]) -> Path | None:
    folder = directory()
    name = _digest_of_bytes(ascii(sorted(key.items())).encode())
    return folder / f"{name}.json" if folder else None


def _changed_at(name: str) -> float:
    """When the file was last modified [ns]."""
    try:
        return os.stat(name).st_mtime_ns
    except (OSError, ValueError):
        return 0  # a missing file is recorded as missing


def _digest(path: Path) -> str:
    try:
        return _digest_of_bytes(path.read_bytes()) if path.is_file() else "missing"
    except (OSError, ValueError):
        return "missing"


def _digest_of(*places: Path) -> str:
    files = sorted(each for place in places for each in place.glob("*.py"))
    return _digest_of_bytes("".join(map(_digest, files)).encode())


def _digest_of_bytes(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest()


@dataclass(eq=False)
class FilesRead:
    """The files that the process opened for reading while reads were recorded; `began` is the start [ns]."""

    names: set[str] = field(default_factory=set)
    began: int = field(default_factory=time.time_ns)

    def forget_packages(self) -> None:
        """Leaves out the files of installed packages, where a trace's key has the version of the one it needs."""
        self.names = {name for name in self.names if _PACKAGES not in name}

    def sources(self) -> tuple[set[str], set[str]]:
        """The files read outside Python, torch and swatcost, and the files of user modules that were loaded before.

        A compiled module is represented by its source file.
        """
        excluded = _excluded_folders()
        opened = {os.path.abspath(_source(name)) for name in self.names}
        loaded = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
        own = {os.path.abspath(_source(name)) for name in loaded if name and _PACKAGES not in name}
        relevant = [{path for path in each if _is_relevant(path, excluded)} for each in (opened, own - opened)]
        return relevant[0], relevant[1]


_RECORDING: list[FilesRead] = []


@contextlib.contextmanager
def record_reads() -> Iterator[FilesRead]:
    """Records which files are read, with an audit hook that stays installed but idle afterwards."""
    _install()
    files = FilesRead()
    _RECORDING.append(files)
    try:
        yield files
    finally:
        _RECORDING.remove(files)


@functools.cache
def _install() -> None:
    sys.addaudithook(_audit)


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if _RECORDING and event == "open" and isinstance(args[0], str | bytes):
        reads = not isinstance(args[1], str) or "+" in args[1] or set(args[1]).isdisjoint("wax")
        for files in _RECORDING if reads else ():
            files.names.add(os.fsdecode(args[0]))


def _excluded_folders() -> tuple[str, ...]:
    """Folders whose files `versions` covers, or that hold no regular files."""
    spec = PathFinder.find_spec("torch")
    torch = tuple(spec.submodule_search_locations or ()) if spec is not None else ()
    return (os.path.abspath(_PACKAGE), *torch, "/proc/", "/sys/", "/dev/")


def _is_relevant(path: str, excluded: tuple[str, ...]) -> bool:
    """Whether a trace may depend on the file in a way that `versions` does not cover."""
    of_python = path.startswith(os.path.dirname(os.__file__) + os.sep) and _PACKAGES not in path
    regular = os.path.isfile(path) or not os.path.exists(path)  # a missing file may be created
    return regular and not of_python and not path.startswith(excluded)


def _source(name: str) -> str:
    if name.endswith(".pyc"):
        from importlib.util import source_from_cache

        with contextlib.suppress(ValueError):
            return source_from_cache(name)
    return name
