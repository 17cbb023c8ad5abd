"""How kernels are compiled: at their first call, and kept on disk where Python keeps its own compiled files."""

import os
from collections.abc import Callable
from typing import Any

from swatcost.common.errors import MissingPackageError

try:
    import numba
except ImportError:
    raise MissingPackageError("sparse kernels need numba: pip install 'swatcost[kernels]'") from None

if "NUMBA_THREADING_LAYER" not in os.environ:
    numba.config.THREADING_LAYER = "omp"  # type: ignore[attr-defined] # torch's own threads, or two pools would fight for the same processors


def use_threads(count: int) -> None:
    """How many threads kernels that this thread calls share their work among, as far as there are so many."""
    numba.set_num_threads(max(1, min(count, numba.config.NUMBA_NUM_THREADS)))  # type: ignore[attr-defined]


def compiled(function: Callable[..., Any]) -> Any:
    """A function that other kernels call."""
    return _jit(function, parallel=False)


def in_threads(function: Callable[..., Any]) -> Any:
    """A kernel whose `prange` loops share their work among threads."""
    return _jit(function, parallel=True)


def _jit(function: Callable[..., Any], parallel: bool) -> Any:
    try:
        return numba.njit(cache=True, nogil=True, parallel=parallel, error_model="numpy")(function)
    except RuntimeError:  # nowhere to keep it
        return numba.njit(nogil=True, parallel=parallel, error_model="numpy")(function)
