"""Ways to find the threshold below which a tensor's elements are zeroed: exact, and approximate (the paper's A.4).

Each is a function (magnitudes, zeros) → t: magnitudes is a flat tensor of n numbers ≥ 0, and t the magnitude that
`zeros` of them do not exceed, 1 ≤ zeros < n. Elements with |x| ≤ t become zero (Algorithm 1, f_TOPK).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from swatcost.common.registry import Registry

Find = Callable[[Tensor, int], Tensor]

_SAMPLE = 4096  # elements of the sampled threshold: at the median, a standard error of 0.8 % of all elements
_BINS = 2048  # of the approximate histogram
_DIGIT = 16  # bits per pass of the radix selection


@dataclass(frozen=True)
class Selection:
    """A way to find a threshold. `exact`: except for ties, exactly `zeros` elements do not exceed it."""

    name: str
    title: str
    find: Find
    exact: bool = True


def by_sorting(magnitudes: Tensor, zeros: int) -> Tensor:
    """Sorts the whole array, O(n log n)."""
    return magnitudes.sort().values[zeros - 1]


def by_topk(magnitudes: Tensor, zeros: int) -> Tensor:
    """Finds the largest elements and their indices, of which only the smallest is used: what Table 10 timed."""
    return magnitudes.topk(magnitudes.numel() - zeros + 1).values[-1]


def by_kthvalue(magnitudes: Tensor, zeros: int) -> Tensor:
    """Quickselect, in torch."""
    return magnitudes.kthvalue(zeros).values


def by_partition(magnitudes: Tensor, zeros: int) -> Tensor:
    """Introselect, in numpy: what Table 9 profiled; on the CPU."""
    import numpy

    partitioned = numpy.partition(magnitudes.cpu().numpy(), zeros - 1)
    return torch.as_tensor(partitioned[zeros - 1], device=magnitudes.device)


def by_radix(magnitudes: Tensor, zeros: int) -> Tensor:
    """Histograms of 16 bits at a time, from the highest: the bits of floats ≥ 0 are ordered as the floats are."""
    whole = {2: torch.int16, 4: torch.int32, 8: torch.int64}[magnitudes.element_size()]
    left, prefix = magnitudes.contiguous().view(whole).long(), 0
    for shift in range(8 * magnitudes.element_size() - _DIGIT, -1, -_DIGIT):
        digits = (left >> shift) & ((1 << _DIGIT) - 1)
        below = digits.bincount(minlength=1 << _DIGIT).cumsum(0)
        digit = int(torch.searchsorted(below, zeros))
        zeros -= int(below[digit - 1]) if digit else 0
        left, prefix = left[digits == digit], (prefix << _DIGIT) | digit
    return torch.tensor([prefix], device=magnitudes.device).to(whole).view(magnitudes.dtype)[0]


def by_sample(magnitudes: Tensor, zeros: int) -> Tensor:
    """The threshold of a sample: every n-th element, about 4096 in total."""
    step = max(1, magnitudes.numel() // _SAMPLE) | 1  # odd, or it would hit the same pixel of every image
    sample = magnitudes[::step]
    rank = round(zeros / magnitudes.numel() * sample.numel())
    return by_kthvalue(sample, max(1, min(rank, sample.numel() - 1)))


def by_histogram(magnitudes: Tensor, zeros: int) -> Tensor:
    """The edge of one of 2048 equal bins between 0 and the largest magnitude."""
    largest = float(magnitudes.max())
    if largest == 0:
        return magnitudes.new_zeros(())
    below = torch.histc(magnitudes.float(), _BINS, 0, largest).cumsum(0)
    edge = torch.searchsorted(below, float(zeros)) + 1
    threshold = edge * (largest / _BINS)
    return threshold.clamp(max=largest * (1 - 1 / _BINS)).to(magnitudes.dtype)


def by_fastest(magnitudes: Tensor, zeros: int) -> Tensor:
    """Introselect on the CPU, where numpy's is many times as fast as torch's quickselect; quickselect elsewhere."""
    takes = magnitudes.device.type == "cpu" and magnitudes.dtype in (torch.float32, torch.float64)
    return by_partition(magnitudes, zeros) if takes else by_kthvalue(magnitudes, zeros)


SELECTIONS = Registry[Selection](
    "selection",
    Selection,
    Selection("exact", "partition on the CPU, kthvalue elsewhere", by_fastest),
    Selection("kthvalue", "torch.kthvalue: quickselect for the threshold alone", by_kthvalue),
    Selection("topk", "torch.topk: the K largest and their indices", by_topk),
    Selection("sort", "torch.sort: the whole array", by_sorting),
    Selection("partition", "numpy.partition: introselect (on the CPU)", by_partition),
    Selection("radix", "histograms of 16 bits at a time", by_radix),
    Selection("sampled", "the threshold of every n-th element, about 4096", by_sample, exact=False),
    Selection("histogram", "the edge of one of 2048 equal bins", by_histogram, exact=False),
)
