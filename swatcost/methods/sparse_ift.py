"""Sparse-IFT, Sparse Wide: layers widened until their sparse FLOPs are those of the dense network before."""

from swatcost.methods.method import Method, sparse_in, with_parameters
from swatcost.methods.parameter import Parameter


def target(width: float) -> float:
    """The sparsity [-] at which layers with `width` times the inputs and outputs have as many weights as before.

    s = 1 − 1 / k²

    Source: Thangarasa et al., ICML 2024: k = √(1 / (1 − s)).

    >>> target(2.0)
    0.75
    """
    return 1 - 1 / width**2


def sparse_ift(*, width: float) -> Method:
    """Sparse Wide with layers `width` times as wide."""
    return Method(
        name="sparse-ift",
        title="Sparse iso-FLOP transformation, Sparse Wide",
        citation="Thangarasa et al., ICML 2024",
        sparse=sparse_in(forward=("weight",), grad_input=("weight",)),
        weight_gradient="active",
        targets={"weights": target(width)},
        departures="The network to estimate is the widened one: reductions are relative to it when dense, and what is "
        "left is what the network before cost, but for the first and the last layer, which are widened on one side. "
        "Activations are as wide as there. Updates of the mask, by RigL or SET, would add dense gradients in some "
        "steps: their period was not checked and they are left out. Sparse Parallel, Factorized and Doped change the "
        "network in other ways and are not this method.",
    )


METHOD = with_parameters(
    sparse_ift,
    Parameter(name="width", default=2.0, least=1, most=100, meaning="k, by which it was widened; sparsity 1 − 1 / k²",
              source="our choice: 75 %"),
)  # fmt: skip
