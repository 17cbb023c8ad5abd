"""Reports the program's own kernels to an observer of a step, as torch's hooks do not see them."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol


class Watcher(Protocol):
    """Observes products."""

    def product(self, elements: int) -> AbstractContextManager[None]:
        """The context around one product with `elements` results, its packing and copies included."""
        ...


_watchers: list[Watcher] = []


@contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Within it, this watcher observes all products, in the place of any other."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


def watched_product(elements: int) -> AbstractContextManager[None]:
    """The context in which a product with `elements` results is to be computed."""
    return _watchers[-1].product(elements) if _watchers else nullcontext()
