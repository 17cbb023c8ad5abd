"""The machine that the program runs on."""

import os
import platform

import torch

_PROCESSORS = ("intel", "amd", "apple", "nvidia", "arm", "neoverse", "graviton", "ampere", "power", "risc-v")
"""Vendors in processors' names: a profile's title should share one with the machine that it describes."""


def machine(on: str = "cpu") -> str:
    """The name of the GPU, or of the processor and its number of cores."""
    if on == "cuda":
        return str(torch.cuda.get_device_name())
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
