"""Operations that are bound by memory, in a few kinds whose times per byte are alike."""

import re
from collections.abc import Mapping
from functools import cache

KINDS: Mapping[str, str] = {
    "normalisation": r"(batch|layer|group|instance|rms)_norm",
    "softmax": r"softmax|logsumexp",
    "pooling": r"pool|upsample|interpolate|grid_sampl",
    "transcendental": r"gelu|silu|mish|elu_|^elu|selu|celu|sigmoid|tanh|softplus|exp|log|erf|sin|cos|pow|sqrt|dropout",
    "reduction": r"^(sum|mean|norm|amax|amin|var|std|cumsum|linalg_vector_norm)|nll_loss|_loss",
    "copy": r"clone|copy|^cat$|stack|index|gather|scatter|embedding|pad|flip|roll|repeat|im2col|col2im|fill|zero|ones|"
    r"full|where|contiguous|unfold|as_strided",
    "elementwise": r"",
}
"""The kinds, each with the names of torch's operations that it matches; the first that matches holds."""


@cache
def kind_of(operation: str) -> str:
    """The kind of an operation, by torch's name of it, such as "native_batch_norm_backward".

    >>> kind_of("native_batch_norm_backward"), kind_of("threshold_backward"), kind_of("gelu")
    ('normalisation', 'elementwise', 'transcendental')
    """
    return next(kind for kind, names in KINDS.items() if re.search(names, operation))
