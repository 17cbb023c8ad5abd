"""Temporaries of Adam, and the state of its 8-bit kind [bytes]."""

from collections.abc import Sequence

from swatcost.memory.precisions import FULL
from swatcost.memory.trained_parameters import Line, Trained, peak_of


def adam_loop(trained: Sequence[Trained]) -> int:
    """Temporaries of torch's Adam [bytes], one parameter after another: a square root, and its quotient.

    The last parameter's quotient is freed only when the next replaces it.

    Source: `_single_tensor_adam` of torch 2.13. Equal to what torch's memory tracker sees.

    >>> adam_loop([Trained((10,), 4), Trained((3,), 4)])  # while the second is updated: 10 + 3 + 3 numbers, less than
    80
    """
    return peak_of(Line("denominator", each.bytes, each.bytes) for each in trained)


_BLOCK, _LEAST_IN_8_BITS, _MAP = 256, 4096, 256  # elements


def adam8bit_state(trained: Sequence[Trained]) -> int:
    """State of bitsandbytes' block-wise 8-bit Adam [bytes].

    Two moments of one byte, each with a maximum in 32 bits per block of 256 elements; parameters with fewer than 4,096
    elements have two moments in 32 bits, whatever their own precision is. Two maps from bytes to numbers are shared.

    Source: `Optimizer2State.init_state` of bitsandbytes 0.50. Not checked on a GPU.

    >>> adam8bit_state([Trained((4097,), 4), Trained((10,), 2)])  # 2 · (4097 + 17 · 4) + 2 · 256 · 4, and 2 · 10 · 4
    10458
    """
    large = [each.elements for each in trained if each.elements >= _LEAST_IN_8_BITS]
    small = [each.elements for each in trained if each.elements < _LEAST_IN_8_BITS]
    moments = sum(each + FULL * -(-each // _BLOCK) for each in large) + FULL * sum(small)
    return 2 * moments + (2 * FULL * _MAP if large else 0)
