"""Where kernels keep their operands: a vector that lies across two lines of the cache takes two accesses to load."""

from math import prod
from typing import Any

import numpy as np

from swatcost.kernels.vectors import LANES


def in_lines(*shape: int) -> Any:
    """An uninitialised array of float32 that starts at the start of a cache line, as do rows of whole vectors.

    numpy asks the system for huge pages: fewer page faults, and fewer misses when addresses are looked up.
    """
    count = prod(shape)
    memory = np.empty(count + LANES, np.float32)
    begin = -memory.ctypes.data // memory.itemsize % LANES
    return memory[begin : begin + count].reshape(shape)


def in_whole_lines(array: Any, *pitches: int) -> bool:
    """Whether an array starts at the start of a cache line, and so does each multiple of `pitches`."""
    return not any(each % LANES for each in (array.ctypes.data // array.itemsize, *pitches))
