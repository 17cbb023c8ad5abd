"""The machine that the program runs on."""

import os
import platform
import time
from types import TracebackType

import torch

_PROCESSORS = ("intel", "amd", "apple", "nvidia", "arm", "neoverse", "graviton", "ampere", "power", "risc-v")
"""Words in the titles of processors, of which a profile's should have the same as the machine that it is of."""


def processor() -> str:
    """The processor's name and its number of cores."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    except OSError:
        pass
    return f"{' '.join(model.split())}, {os.cpu_count()} cores"


def conditions() -> str:
    """What torch computes with."""
    return f"torch {torch.__version__.split('+')[0]}, {torch.get_num_threads()} threads"


def is_plainly_another(title: str, other: str) -> bool:
    """Whether two titles cannot be of one machine: they name processors, and none that both name.

    >>> is_plainly_another("NVIDIA A100 SXM4 80 GB", "AMD EPYC, 2 cores")
    True
    >>> is_plainly_another("Intel Xeon with AVX-512, 2 cores", "Intel(R) Xeon(R) Processor @ 2.10GHz, 2 cores")
    False
    """
    one, two = ({each for each in _PROCESSORS if each in text.lower()} for text in (title, other))
    return bool(one and two) and not one & two


def memory_bytes() -> int:
    """The size of its memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class Processors:
    """A context that sees how busy the processors are: `by_others` is the share of them that other programs had [-].

    It is 0 where the system does not say it (Linux does).
    """

    def __enter__(self) -> "Processors":
        self._before, self.by_others = _clocks(), 0.0
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        wall, busy, own = (after - before for before, after in zip(self._before, _clocks(), strict=True))
        if busy and wall >= _SHORTEST:
            self.by_others = max(0.0, busy - own) / (wall * (os.cpu_count() or 1))


_SHORTEST = 0.1  # [s]: the system counts in ticks of 10 ms


def _clocks() -> tuple[float, float, float]:
    """Seconds passed, seconds in which processors were busy, and those of them that this process had."""
    busy = 0.0
    try:
        with open("/proc/stat", encoding="ascii") as lines:
            user, nice, system, _, _, irq, soft_irq, steal, *_ = map(int, lines.readline().split()[1:])
        busy = (user + nice + system + irq + soft_irq + steal) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        pass
    own = os.times()
    return time.monotonic(), busy, own.user + own.system
