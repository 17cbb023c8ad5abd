"""What methods with N:M sparsity have in common: N of every M weights along the input channels are kept."""

from math import comb
from typing import Any

from swatcost.common.bound import bound
from swatcost.common.errors import SwatcostError
from swatcost.methods.parameter import Parameter
from swatcost.network.layer import Layer

_SPARSE_TENSOR_CORES = "2:4, the pattern of sparse tensor cores (Mishra et al. 2021)"

N = Parameter(
    name="n", default=2, least=1, most=9999, meaning="N, weights kept in each group: the target is 1 − N / M",
    source=_SPARSE_TENSOR_CORES,
)  # fmt: skip
M = Parameter(
    name="m", default=4, least=1, most=9999, meaning="M, weights in a group along the input channels",
    source=_SPARSE_TENSOR_CORES,
)  # fmt: skip


def has_groups(layer: Layer, *, m: int) -> bool:
    """Whether the input channels of one filter are a multiple of M."""
    return layer.input_channels % m == 0


def n_of_m(method: str, *, n: int, m: int) -> dict[str, Any]:
    """The fields of a method of this name that keeps `n` of every `m` weights. Raises SwatcostError for n above m."""
    if n > m:
        raise SwatcostError(f"method {method!r}: it keeps n={n} of every m={m} weights, give n up to m")
    return {
        "targets": {"weights": 1 - n / m},
        "group": m,
        "sparse_only": bound(has_groups, m=m),
        "sparse_layers": f"layers whose input channels are a multiple of {m}",
    }


def pruned_again(sparsity: float, *, m: int) -> float:
    """The sparsity [-] of random N:M weights that are pruned to N of M along the filters too, in groups of `m`.

    Each of the M weights in a group along the filters is there with probability d = N / M = 1 − s, independently, and
    those above N are pruned:

    s' = s + Σ_{j > N} binomial(M, j) · d^j · s^(M − j) · (j − N) / M

    Dense stays dense.

    Source: Mozaffari et al., "SLoPe", ICLR 2025, whose 9.375 % for 2:4 and 12.5 % for 1:2 are the second term: shares
    of all weights, not of those that the first pruning keeps.

    >>> pruned_again(0.5, m=4) - 0.5, pruned_again(0.5, m=2) - 0.5
    (0.09375, 0.125)
    """
    density = 1 - sparsity
    kept = density * m
    return sparsity + sum(
        comb(m, here) * density**here * sparsity ** (m - here) * (here - kept) / m
        for here in range(1, m + 1)
        if here > kept
    )
