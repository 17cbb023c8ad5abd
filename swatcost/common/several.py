"""A setting that may be several values: what counts as several, and how two such settings go together in pairs."""

from collections.abc import Iterable
from typing import Any

from swatcost.common.errors import SwatcostError


def several(value: Any, name: str) -> list[Any]:
    """What was given, as several: a name, a number, a function or an array without dimensions is one.

    Raises SwatcostError where there is none.

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
    """How many pairs settings of so many values make, the first with the first; a single value goes with all.

    Raises SwatcostError where they are neither equally many nor single.

    >>> pairs(3, 1, 3)
    3
    """
    longest = {each for each in lengths if each != 1}
    if len(longest) > 1:
        raise SwatcostError(f"paired settings have to be equally many, not {' and '.join(map(str, sorted(longest)))}")
    return longest.pop() if longest else 1
