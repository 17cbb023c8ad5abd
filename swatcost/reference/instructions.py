"""Retired instructions of numpy.partition: the paper's Table 9 for this machine, if they can be counted."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_ARRAYS = 5  # per size, as introselect's cost depends on where its pivots fall
_SECONDS = 240  # time limit of a child process
_SUMMARY = re.compile(r"^==(\d+)== I\s+refs:\s+([\d,]+)$", re.MULTILINE)

# Run in separate processes: numpy chooses its code paths on import, and valgrind counts whole processes.
_CHILD = f"""
import ctypes, json, os, platform, struct, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL: nobody waits for the counts of a program that is gone
import numpy
try:
    from numpy._core import _multiarray_umath as core
except ImportError:
    from numpy.core import _multiarray_umath as core

sizes, how = json.loads(sys.argv[1]), sys.argv[2]
paths = [each for each in core.__cpu_dispatch__ if core.__cpu_features__.get(each)]
here = {{*paths, *core.__cpu_baseline__}}
# numpy/_core/src/npysort/selection.cpp: float32 has vector paths only on x86
sorts = [each for each in ("X86_V4", "AVX512_SKX", "X86_V3", "AVX2") if each in here]
found = {{"paths": paths, "dispatch": sorts[0] if sorts else "introselect", "counts": {{}}, "processes": {{}}}}
draw = numpy.random.default_rng(0).standard_normal
arrays = {{size: [abs(draw(size, dtype=numpy.float32)) for _ in range({_ARRAYS})] for size in [9, *sizes]}}

def work(size):
    for array in arrays[size]:
        numpy.partition(array, int(0.8 * size))

work(9)  # one-time costs
if how == "perf" and sys.platform == "linux":
    # struct perf_event_attr: type hardware, its size, config instructions; no kernel, no hypervisor
    attributes = bytearray(128)
    struct.pack_into("IIQ", attributes, 0, 0, 128, 1)
    struct.pack_into("Q", attributes, 40, 1 << 5 | 1 << 6)
    number = {{"x86_64": 298, "aarch64": 241}}.get(platform.machine())
    buffer = (ctypes.c_char * 128).from_buffer(attributes)
    counter = ctypes.CDLL(None).syscall(number, buffer, 0, -1, -1, 0) if number else -1
    if counter >= 0:
        read = lambda: struct.unpack("Q", os.read(counter, 8))[0]
        for size in sizes:
            work(size)
            before = read()
            work(size)
            found["counts"][size] = (read() - before) / {_ARRAYS}
elif how == "valgrind":
    # valgrind reports each fork when it exits, including its parent's work until then; the fork of size 0 is only that
    for size in [0, *sizes]:
        process = os.fork()
        if not process:
            if size:
                work(size)
            os._exit(0)
        os.waitpid(process, 0)
        found["processes"][process] = size
print(json.dumps(found), flush=True)
"""


@dataclass(frozen=True)
class Instructions:
    """Instructions retired by one numpy.partition of single-precision numbers, including its copy.

    `counter` is what counted them, `dispatch` the numpy code path that ran.
    """

    elements: int
    instructions: float
    counter: str
    dispatch: str

    @property
    def per_element(self) -> float:
        """Instructions per element: the third column of Table 9."""
        return self.instructions / self.elements


def partition_instructions(sizes: Sequence[int], *, simd: bool) -> list[Instructions]:
    """Counts for arrays of normal magnitudes of these sizes, searching the threshold that zeroes 80 %.

    The mean of five arrays, including the call overhead of some ten thousand instructions. Counted by the processor, or
    else by valgrind, which does not support AVX-512; empty if neither is available. simd=False turns off numpy's vector
    paths, which leaves introselect, the algorithm that Table 9 profiled.
    """
    off = "" if simd else _vector_paths()
    found = _child(sizes, "perf", [], off)
    if found is not None and any(found[0]["counts"].values()):  # the counters of some virtual machines stay at zero
        counts, counter = {int(size): count for size, count in found[0]["counts"].items()}, "the processor"
    elif (valgrind := shutil.which("valgrind")) is None:
        return []
    else:
        tool = [valgrind, "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", "--vgdb=no"]
        if not simd:
            off = _vector_paths([valgrind, "--tool=none", "--vgdb=no"])  # counts nothing, in a third of the time
        found = _child(sizes, "valgrind", tool, off)
        if found is None:
            return []
        counts, counter = _of_forks(found[1], found[0]["processes"]), "valgrind"
    dispatch = found[0]["dispatch"]
    if not simd and dispatch != "introselect":
        return []  # numpy's vector paths could not be turned off
    return [Instructions(size, counts[size], counter, dispatch) for size in sizes if size in counts]


def _of_forks(log: str, processes: dict[str, int]) -> dict[int, float]:
    """Instructions of one partition by size, from valgrind's per-process summaries.

    >>> log = "==7== I   refs:      1,000" + chr(10) + "==8== I   refs:      6,000"
    >>> _of_forks(log, {"7": 0, "8": 100})  # (6000 − 1000) / 5 arrays
    {100: 1000.0}
    """
    totals = {processes.get(process): int(count.replace(",", "")) for process, count in _SUMMARY.findall(log)}
    if 0 not in totals:
        return {}
    return {size: (total - totals[0]) / _ARRAYS for size, total in totals.items() if size}


def _vector_paths(tool: Sequence[str] = ()) -> str:
    """The vector paths that numpy could choose here, to be turned off."""
    found = _child([], "none", tool, "")
    return " ".join(found[0]["paths"]) if found else ""


def _child(sizes: Sequence[int], how: str, tool: Sequence[str], off: str) -> tuple[dict[str, Any], str] | None:
    """The child's result and its standard error; None if it failed."""
    environment = {**os.environ, "NPY_DISABLE_CPU_FEATURES": off, "OPENBLAS_NUM_THREADS": "1"}
    if not off:
        del environment["NPY_DISABLE_CPU_FEATURES"]
    command = [*tool, sys.executable, "-P", "-c", _CHILD, json.dumps(list(sizes)), how]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=True)
        return json.loads(done.stdout.splitlines()[-1]), done.stderr
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None
