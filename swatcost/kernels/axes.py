"""The positions that a convolution reads along one dimension, for its output and for its input's gradient."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Axis:
    """Results at start + stride · i, i = 0 … count − 1, which read positions step · i + shift, one for each tap.

    Positions outside 0 … size − 1 are zeros and are left out. `taps` are the kernel's positions that are read, `shifts`
    theirs, in increasing order.
    """

    count: int
    start: int
    stride: int
    step: int
    size: int
    taps: tuple[int, ...]
    shifts: tuple[int, ...]

    @property
    def numbers(self) -> tuple[int, ...]:
        """What a kernel needs to know, without the taps."""
        return self.count, self.start, self.stride, self.step, self.size


@dataclass(frozen=True)
class Dimension:
    """One dimension of a convolution: sizes of input and output, and its kernel's size, stride, padding and dilation.

    >>> Dimension(size=4, output=2, kernel=3, stride=2, padding=1, dilation=1).forward
    Axis(count=2, start=0, stride=1, step=2, size=4, taps=(0, 1, 2), shifts=(-1, 0, 1))
    """

    size: int
    output: int
    kernel: int
    stride: int
    padding: int
    dilation: int

    @property
    def forward(self) -> Axis:
        """Output i reads input stride · i + dilation · r − padding at the kernel's position r."""
        taps = tuple(range(self.kernel))
        shifts = tuple(self.dilation * each - self.padding for each in taps)
        return Axis(self.output, 0, 1, self.stride, self.size, taps, shifts)

    @property
    def backward(self) -> tuple[Axis, ...]:
        """The gradient of input h reads that of output (h + padding − dilation · r) / stride where this is whole.

        One axis for each remainder of h by the stride, as inputs with the same one read the same positions of the
        kernel. The same pairs of positions make the gradient of the weight.

        >>> for axis in Dimension(size=4, output=2, kernel=3, stride=2, padding=1, dilation=1).backward:
        ...     print(axis.start, axis.taps, axis.shifts)
        0 (1,) (0,)
        1 (2, 0) (0, 1)
        """
        axes = []
        for start in range(min(self.stride, self.size)):
            apart = {tap: start + self.padding - self.dilation * tap for tap in reversed(range(self.kernel))}
            shifts = {tap: each // self.stride for tap, each in apart.items() if each % self.stride == 0}
            count = -(-(self.size - start) // self.stride)
            axes.append(
                Axis(count, start, self.stride, 1, self.output, tuple(shifts), tuple(shifts.values())),
            )
        return tuple(axes)


def as_array(places: tuple[int, ...]) -> Any:
    """An axis' taps or shifts as kernels take them."""
    return np.array(places, np.int64)
