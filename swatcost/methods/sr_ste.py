"""SR-STE: trains with N:M weights from scratch; a straight-through estimator reaches the pruned ones, which decay."""

from swatcost.methods.method import Method, sparse_in, with_parameters
from swatcost.methods.n_of_m import M, N, n_of_m


def sr_ste(*, n: int, m: int) -> Method:
    """SR-STE that keeps `n` of every `m` weights."""
    return Method(
        name="sr-ste",
        title="Sparse-refined straight-through estimator, N:M",
        citation="Zhou et al., ICLR 2021",
        sparse=sparse_in(forward=("weight",)),
        **n_of_m("sr-ste", n=n, m=m),
        departures="grad_input counts in full: the weight that it reads has the same zeros, N / M of the products, "
        "but not in groups along its sum over filters, as a sparse tensor core needs; transposable-nm has them there "
        "too. The mask is found anew in every step, and pruned weights decay: neither is counted. Which layers its "
        "authors' runs keep dense was not checked.",
    )


METHOD = with_parameters(sr_ste, N, M)
