"""Products that an observer of a step is told of, as torch does not see the program's own kernels."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol


class Watcher(Protocol):
    """What is told of products."""

    def product(self, elements: int) -> AbstractContextManager[None]:
        """A context in which a product with so many results is computed, with all that this takes."""
        ...


_watchers: list[Watcher] = []


@contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Tells a watcher of all products meanwhile."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


def watched_product(elements: int) -> AbstractContextManager[None]:
    """The context to compute a layer's product in, whose results are so many."""
    return _watchers[-1].product(elements) if _watchers else nullcontext()
