"""Registries of things that a user chooses by name."""

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from swatcost.common.errors import SwatcostError


class Named(Protocol):
    """A member of a registry: a name to choose it by and a title to show."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...


T = TypeVar("T", bound=Named)


class Registry(Generic[T]):
    """Named choices of one kind, in the order of registration.

    Registering a name twice raises ValueError; looking up an unknown one raises SwatcostError with the nearest names.
    `entry_points` is the group through which other packages add members; they are loaded when a name is not known, and
    when all choices are listed.
    """

    def __init__(self, kind: str, of: type[T], *members: T, entry_points: str | None = None) -> None:
        self.kind = kind
        self._of = of
        self._pending_group = entry_points
        self._members: dict[str, T] = {}
        for member in members:
            self.register(member)

    def register(self, member: T) -> T:
        """Adds a member and returns it."""
        if member.name in self._members:
            raise ValueError(f"there is already a {self.kind} called {member.name!r}")
        self._members[member.name] = member
        return member

    def __getitem__(self, name: str) -> T:
        if isinstance(name, str) and name in self._members:
            return self._members[name]
        if name not in self.names():
            raise SwatcostError(f"unknown {self.kind} {name!r}: {nearest(str(name), self.names())}")
        return self._members[name]

    def choose(self, choice: str | T) -> T:
        """The member of that name; a member is returned as it is."""
        if isinstance(choice, self._of):
            return choice
        if not isinstance(choice, str):
            raise SwatcostError(f"unknown {self.kind} {choice!r:.60}: choose from {', '.join(self.names())}")
        return self[choice]

    def __iter__(self) -> Iterator[T]:
        self._load_entry_points()
        return iter(self._members.values())

    def names(self) -> list[str]:
        """All names."""
        self._load_entry_points()
        return list(self._members)

    def _load_entry_points(self) -> None:
        """Registers, once, the members that other packages add."""
        group, self._pending_group = self._pending_group, None
        if group is None:
            return
        from importlib.metadata import entry_points

        for entry in entry_points(group=group):
            try:
                member = entry.load()
                if not isinstance(member, self._of):
                    raise TypeError(f"it is not a {self._of.__name__}")
                self.register(member)
            except Exception as error:
                raise SwatcostError(
                    f"the {self.kind} {entry.name!r} ({entry.value}) cannot be used: {error}"
                ) from error


_FEW = 16


def nearest(name: str, names: list[str]) -> str:
    """A suggestion for an unknown name: the nearest names, or else all of them (some if there are many)."""
    import difflib

    folded = {each.lower(): each for each in names}
    close = [folded[each] for each in difflib.get_close_matches(name.lower(), folded, n=3, cutoff=0.5)]
    some = names if len(names) <= _FEW else [*names[:4], "…", *names[-3:]]
    return f"did you mean {' or '.join(close)}?" if close else f"choose from {', '.join(some)}"
