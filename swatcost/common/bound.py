"""A function with some of its arguments given: what `functools.partial` is, but equal by value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Bound:
    """A function and keyword arguments that every call of it gets; made by `bound`.

    Two are equal if their functions and arguments are, also after pickling, which partial objects are not.
    """

    function: Callable[..., Any]
    arguments: tuple[tuple[str, Any], ...]

    def __call__(self, *others: Any) -> Any:
        return self.function(*others, **dict(self.arguments))


def bound(function: Callable[..., Any], **arguments: Any) -> Bound:
    """The function with these arguments given; it takes the others by position.

    >>> bound(divmod) == bound(divmod), bound(int, base=2)("101")
    (True, 5)
    """
    return Bound(function, tuple(arguments.items()))
