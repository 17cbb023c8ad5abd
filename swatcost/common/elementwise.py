"""Arithmetic on numbers and arrays; numbers need no numpy."""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any


def ceiling(value: Any) -> Any:
    """The value rounded up: an int, or an array of floats.

    >>> ceiling(4.2)
    5
    """
    return -(-value // 1) if hasattr(value, "shape") else math.ceil(value)


def where(condition: Any, value: Any, otherwise: Any) -> Any:
    """The value where the condition holds, or else otherwise; both are evaluated first. None becomes NaN in arrays.

    >>> where(2 > 1, "more", None)
    'more'
    """
    if not hasattr(condition, "shape"):
        return value if condition else otherwise
    import numpy

    return numpy.where(condition, value, numpy.nan if otherwise is None else otherwise)


def for_each(function: Callable[[float], float], value: Any) -> Any:
    """What a function of one number gives for a number, a float, or for each element of an array.

    >>> for_each(abs, -2)
    2.0
    """
    if not hasattr(value, "shape"):
        return float(function(value))
    import numpy

    found = [float(function(each)) for each in numpy.ravel(value).tolist()]
    return numpy.array(found).reshape(numpy.shape(value))


def any_of(condition: Any) -> bool:
    """Whether it holds, or does for any element.

    >>> any_of(2 > 1)
    True
    """
    return bool(condition.any() if hasattr(condition, "any") else condition)


def least(value: Any, other: Any) -> Any:
    """The smaller of the two.

    >>> least(2, 1)
    1
    """
    return where(value < other, value, other)


def raised(exponent: Any) -> Any:
    """e to this power."""
    if not hasattr(exponent, "shape"):
        return math.exp(exponent)
    import numpy

    return numpy.exp(exponent)


def interpolated(value: Any, at: Sequence[float], results: Sequence[float]) -> Any:
    """The result at a positive value: linear in its logarithm between the rising ones of `at`, constant beyond them.

    >>> interpolated(0.1, [0.01, 1.0], [0.0, 4.0])
    2.0
    """
    if hasattr(value, "shape"):
        import numpy

        return numpy.interp(numpy.log(value), numpy.log(at), results)
    if value <= at[0]:
        return results[0]
    if value >= at[-1]:
        return results[-1]
    place = bisect_left(at, value)
    share = math.log(value / at[place - 1]) / math.log(at[place] / at[place - 1])
    return (1 - share) * results[place - 1] + share * results[place]
