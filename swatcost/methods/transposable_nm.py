"""Transposable N:M masks: N of every M weights along the input channels and along the filters, for both passes."""

from math import log2

from swatcost.common.bound import bound
from swatcost.methods.added_work import OffStep
from swatcost.methods.method import Method, sparse_in, with_parameters
from swatcost.methods.n_of_m import M, N, n_of_m
from swatcost.methods.parameter import Parameter
from swatcost.network.layer import Layer


def search_flops(layer: Layer, *, m: int) -> float:
    """Comparisons of sorting each block of M × M weights, one FLOP each: log₂ M² per weight.

    >>> from types import SimpleNamespace
    >>> search_flops(SimpleNamespace(weight_elements=16), m=4)  # one block: 16 · log2(16)
    64.0
    """
    return layer.weight_elements * log2(m * m)


def transposable_nm(*, every: int, n: int, m: int) -> Method:
    """Transposable masks that are searched every `every` steps."""
    search = OffStep(
        name="search for transposable masks",
        period=every,
        flops=bound(search_flops, m=m),
        source="comparisons of sorting each M × M block, as its greedy 2-approximation does first",
    )
    return Method(
        name="transposable-nm",
        title="Transposable N:M masks",
        citation="Hubara et al., NeurIPS 2021",
        sparse=sparse_in(forward=("weight",), grad_input=("weight",)),
        off_step=(search,),
        **n_of_m("transposable-nm", n=n, m=m),
        departures="The search counts the sorting alone, at one FLOP per comparison; the optimal search, a "
        "minimum-cost flow, costs more. The default period is quoted from memory and was not checked.",
    )


METHOD = with_parameters(
    transposable_nm,
    Parameter(name="every", default=40, least=1, meaning="steps from one search for masks to the next",
              source="quoted from memory, not checked"),
    N,
    M,
)  # fmt: skip
