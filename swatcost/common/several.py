"""Settings with several values: what counts as one value, and how values are combined by position."""

from collections.abc import Iterable
from typing import Any

from swatcost.common.errors import SwatcostError


def several(value: Any, name: str) -> list[Any]:
    """The given values as a list; a name, a number, a function or a 0-dimensional array is one value.

    Raises SwatcostError for an empty list.

    >>> several(0.5, "weights"), several([0.5, 0.9], "weights"), several("erk", "distribution")
    ([0.5], [0.5, 0.9], ['erk'])
    """
    if getattr(value, "ndim", 1) == 0 and hasattr(value, "item"):
        return [value.item()]
    if isinstance(value, str | bytes) or callable(value) or not isinstance(value, Iterable):
        return [value]
    found = list(value)
    if not found:
        raise SwatcostError(f"{name}: give at least one")
    return found


def pairs(*lengths: int) -> int:
    """The number of combinations by position of settings with these numbers of values; a single value is reused.

    Raises SwatcostError if the numbers differ and are not 1.

    >>> pairs(3, 1, 3)
    3
    """
    longest = {each for each in lengths if each != 1}
    if len(longest) > 1:
        raise SwatcostError(f"paired settings have to be equally many, not {' and '.join(map(str, sorted(longest)))}")
    return longest.pop() if longest else 1
