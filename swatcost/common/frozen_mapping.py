"""A mapping that cannot be changed, for the fields of frozen dataclasses."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class FrozenMapping(Mapping[K, V]):
    """What `types.MappingProxyType` is, but it can be pickled: results go to other processes and into caches.

    >>> import pickle
    >>> pickle.loads(pickle.dumps(FrozenMapping({"weights": 0.8})))
    FrozenMapping({'weights': 0.8})
    """

    __slots__ = ("_content",)

    def __init__(self, content: Mapping[K, V] | Iterable[tuple[K, V]]) -> None:
        self._content = dict(content)

    def __getitem__(self, key: K) -> V:
        return self._content[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._content})"
