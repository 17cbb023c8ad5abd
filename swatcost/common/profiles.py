"""Profiles: data in .toml files, chosen by name if shipped, or by the path of the file."""

import tomllib
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args, get_type_hints

import msgspec

from swatcost.common.errors import SwatcostError
from swatcost.common.registry import nearest

T = TypeVar("T")


@dataclass(frozen=True)
class Profiles(Generic[T]):
    """The profiles of one kind, each a frozen dataclass of type `of`; the shipped ones are in `folder`.

    A file with the key `mark` is of this kind. Messages call a choice a `kind`, and a file a `noun`.
    """

    kind: str
    noun: str
    of: type[T]
    folder: Path
    mark: str

    def names(self) -> list[str]:
        """The names of the shipped profiles."""
        return sorted(each.name.removesuffix(".toml") for each in self.folder.iterdir() if each.name.endswith(".toml"))

    def load(self, name: str | Path) -> T:
        """A shipped profile by name, or any profile by the path of its .toml file.

        Raises SwatcostError for an unknown name, and for a file that cannot be read or has unknown keys or invalid
        values.
        """
        if not _is_path(name) and name not in (names := self.names()):
            raise SwatcostError(f"unknown {self.kind} {name!r}: {nearest(str(name), names)}")
        try:
            return parsed(self._text(name), self.of)
        except OSError as error:
            raise SwatcostError(f"cannot read {self.noun} {name}: {error.strerror}") from None
        except (ValueError, RecursionError) as error:
            raise SwatcostError(f"{name} is not a usable {self.noun}: {error}") from None

    def has(self, name: str | Path) -> bool:
        """Whether it is a shipped profile's name, or the path of a readable file of this kind."""
        try:
            return self.mark in tomllib.loads(self._text(name)) if _is_path(name) else name in self.names()
        except (OSError, ValueError, RecursionError):
            return False

    def _text(self, name: str | Path) -> str:
        source = Path(name) if _is_path(name) else self.folder / f"{name}.toml"
        try:
            return source.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise ValueError("it is not UTF-8 text") from None


def _is_path(name: str | Path) -> bool:
    return str(name).endswith(".toml")


def parsed(text: str, of: type[T]) -> T:
    """A dataclass from TOML. Raises ValueError for invalid TOML, unknown keys and invalid values."""
    given = tomllib.loads(text)
    _check_keys(given, of, "")
    return msgspec.convert(given, of)


def _check_keys(given: Any, of: Any, place: str) -> None:
    """Raises ValueError for the first key, at any depth, that the table's dataclass does not have.

    `of` may be a dataclass, an optional one, or a tuple of them.
    """
    if isinstance(given, list):
        for number, each in enumerate(given, 1):
            _check_keys(each, of, f"{place} {number}")
    kind = next((each for each in (of, *get_args(of)) if is_dataclass(each)), None)
    if kind is None or not isinstance(given, dict):
        return
    known = get_type_hints(kind)
    for key, value in given.items():
        if key not in known:
            raise ValueError(f"{key!r:.40}{place and f' in {place}'}: {nearest(key, list(known))}")
        _check_keys(value, known[key], f"{place}.{key}".lstrip("."))
