"""Profiles: data in .toml files, chosen by name if shipped, or by the path of the file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from swatcost.common.errors import SwatcostError
from swatcost.common.reading import LARGEST_SETTINGS, read, toml_of, typed
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
        found: T = self._read(name, lambda text: typed(toml_of(text), self.of))
        return found

    def has(self, name: str | Path) -> bool:
        """Whether it is a shipped profile's name, or the path of a readable file of this kind."""
        try:
            return self.mark in self._read(name, toml_of) if _is_path(name) else name in self.names()
        except SwatcostError:
            return False

    def _read(self, name: str | Path, parse: Callable[[str], Any]) -> Any:
        source = Path(name) if _is_path(name) else self.folder / f"{name}.toml"
        return read(source, self.noun, parse, LARGEST_SETTINGS, closed=False)


def _is_path(name: str | Path) -> bool:
    return str(name).endswith(".toml")
