"""Bi-Mask: N:M masks of their own for the forward pass and for grad_input, whose filters are permuted to fit."""

from swatcost.common.bound import bound
from swatcost.methods.added_work import OffStep
from swatcost.methods.method import Method, sparse_in, with_parameters
from swatcost.methods.n_of_m import M, N, n_of_m
from swatcost.methods.parameter import Parameter
from swatcost.network.layer import Layer


def as_sparse(sparsity: float) -> float:
    """Another set of as many weights."""
    return sparsity


def search_flops(layer: Layer, *, candidates: int) -> float:
    """One FLOP per weight and candidate: each counts the weights that both masks keep."""
    return layer.weight_elements * candidates


def bi_mask(*, every: int, candidates: int, n: int, m: int) -> Method:
    """Bi-Mask that tries `candidates` permutations every `every` steps."""
    search = OffStep(
        name="search for a permutation",
        period=every,
        flops=bound(search_flops, candidates=candidates),
        source="the count of weights kept by both masks, for each candidate in its public code",
    )
    return Method(
        name="bi-mask",
        title="Bi-directional N:M masks",
        citation="Zhang et al., ICML 2023",
        sparse=sparse_in(forward=("weight",), grad_input=("weight",)),
        weight_sets={"grad_input": as_sparse},
        off_step=(search,),
        **n_of_m("bi-mask", n=n, m=m),
        departures="grad_input counts as N / M. In its public code the second mask prunes what the first one has "
        "left, so that some more weights are zero there; how many depends on the permutation that is found. Finding "
        "each candidate's mask, M-element sorts, is not counted.",
    )


METHOD = with_parameters(
    bi_mask,
    Parameter(name="every", default=100, least=1, meaning="steps from one search for a permutation to the next",
              source="its public code"),
    Parameter(name="candidates", default=10, least=1, meaning="permutations that a search tries",
              source="its public code"),
    N,
    M,
)  # fmt: skip
