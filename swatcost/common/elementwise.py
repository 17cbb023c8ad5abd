"""Arithmetic on numbers and arrays; numbers need no numpy."""

import math
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
