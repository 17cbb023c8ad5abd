"""How kernels are compiled: at their first call, and kept on disk where Python keeps its own compiled files."""

import os
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

from swatcost.common.errors import MissingPackageError, SwatcostError


def _no_threads() -> SwatcostError:
    names = [each for each in ("NUMBA_THREADING_LAYER", "NUMBA_NUM_THREADS") if each in os.environ]
    asked = " ".join(f"{each}={os.environ[each]}" for each in names)
    return SwatcostError(f"numba cannot start threads with {asked}: unset {' and '.join(names)}")


try:
    import numba
except ValueError:
    raise _no_threads() from None
except ImportError:
    raise MissingPackageError("sparse kernels need numba: pip install 'swatcost[kernels]'") from None

if "NUMBA_THREADING_LAYER" not in os.environ:
    numba.config.THREADING_LAYER = "omp"  # type: ignore[attr-defined] # torch's own threads, or two pools would fight for the same processors


_FILES = sorted(Path(__file__).parent.glob("*.py"))
_SOURCES = blake2b(b"".join(each.read_bytes() for each in _FILES), digest_size=4).hexdigest()
"""Stands for all files of this folder: numba itself compiles a kernel anew when the kernel's own file changes only."""


def use_threads(count: int) -> None:
    """Sets the number of threads that kernels called from this thread use, at most as many as numba has.

    Raises SwatcostError if numba's variables of the environment ask for threads that it cannot start.
    """
    try:
        numba.set_num_threads(max(1, min(count, numba.config.NUMBA_NUM_THREADS)))  # type: ignore[attr-defined]
    except ValueError as error:
        raise _no_threads() from error


def compiled(function: Callable[..., Any]) -> Any:
    """A function that other kernels call."""
    return _jit(function, parallel=False)


def in_threads(function: Callable[..., Any]) -> Any:
    """A kernel whose `prange` loops share their work among threads."""
    return _jit(function, parallel=True)


def _jit(function: Callable[..., Any], parallel: bool) -> Any:
    function.__qualname__ += f"-{_SOURCES}"  # part of the name under which numba keeps what it compiled
    try:
        return numba.njit(cache=True, nogil=True, parallel=parallel, error_model="numpy")(function)
    except RuntimeError:  # nowhere to keep it
        return numba.njit(nogil=True, parallel=parallel, error_model="numpy")(function)
