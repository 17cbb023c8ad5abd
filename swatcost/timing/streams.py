"""Operations that are bound by memory, in kinds whose times per byte are alike, and the time of a call."""

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import exp, log

from swatcost.devices.operations import StreamTimes

KINDS: Mapping[str, str] = {
    "batch normalisation": r"(batch|instance)_norm",
    "layer normalisation": r"(layer|group|rms)_norm",
    "softmax": r"softmax|logsumexp",
    "pooling": r"pool|upsample|grid_sampl",
    "transcendental": r"(^|_)(gelu|silu|mish|elu|selu|celu|(log_)?sigmoid|tanh|softplus|exp|exp2|expm1|log|log1p|log2|"
    r"erf|sin|cos|pow|r?sqrt|dropout)(_|$)",
    "reduction": r"^(sum|mean|norm|amax|amin|var|std|cumsum|linalg_vector_norm)|_loss",
    "fill": r"^(zeros|ones|full|fill|zero|new_zeros|new_ones|new_full)",
    "copy": r"clone|copy|^cat$|stack|index|gather|scatter|embedding|pad|flip|roll|repeat|im2col|col2im|unfold",
    "in place": r"_$",
    "elementwise": r"",
}
"""The kinds, each with the names of torch's operations that it holds; the first that matches counts."""

STAND_INS: Mapping[str, str] = {
    "layer normalisation": "batch normalisation",
    "batch normalisation": "layer normalisation", "fill": "copy",
}  # fmt: skip
"""What stands for a kind that was not measured; for others it is "elementwise"."""


@cache
def kind_of(operation: str) -> str:
    """The kind of an operation, by torch's name of it.

    >>> kind_of("native_batch_norm_backward"), kind_of("threshold_backward"), kind_of("add_")
    ('batch normalisation', 'elementwise', 'in place')
    """
    return next(kind for kind, names in KINDS.items() if re.search(names, operation))


@dataclass(frozen=True)
class Streams:
    """The measured times of operations that are bound by memory, by kind and pass."""

    times: Sequence[StreamTimes]

    def seconds(self, kind: str, in_pass: str, bytes: float) -> float | None:
        """The time [s] of a call that reads and writes so many bytes; None if nothing of the kind was measured.

        Between measurements, the logarithm of the time is linear in that of the bytes. A smaller call takes as long as
        the smallest one measured, and a larger one as long per byte as the largest.
        """
        found = self._measured(kind, in_pass)
        if found is None or not bytes:
            return None if found is None else 0.0
        points = sorted(found.points)
        if bytes <= points[0].moved_bytes:
            return points[0].seconds
        if bytes >= points[-1].moved_bytes:
            return points[-1].seconds * bytes / points[-1].moved_bytes
        place = bisect_left(points, (bytes,))
        (low, before), (high, after) = points[place - 1], points[place]
        share = log(bytes / low) / log(high / low)
        return exp((1 - share) * log(before) + share * log(after))

    def _measured(self, kind: str, in_pass: str) -> StreamTimes | None:
        by_name: dict[tuple[str, str], StreamTimes] = {(each.kind, each.in_pass): each for each in self.times}
        for name in dict.fromkeys((kind, STAND_INS.get(kind, "elementwise"), "elementwise")):
            for each in dict.fromkeys((in_pass, "forward")):
                if (name, each) in by_name:
                    return by_name[name, each]
        return None
