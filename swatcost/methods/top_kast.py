"""Top-KAST: computes with the largest weights, and gives gradients to a wider set of large ones."""

from swatcost.common.bound import bound
from swatcost.methods.method import Method, sparse_in, with_parameters
from swatcost.methods.parameter import Parameter


def wider(sparsity: float, *, backward: float) -> float:
    """The sparsity of the weights that get gradients: those that compute and more, down to `backward`."""
    return min(sparsity, backward)


def top_kast(*, backward: float) -> Method:
    """Top-KAST whose wider set has the sparsity `backward`."""
    return Method(
        name="top-kast",
        title="Top-K always sparse training",
        citation="Jayakumar et al., NeurIPS 2020",
        sparse=sparse_in(forward=("weight",), grad_input=("weight",)),
        weight_gradient="active",
        weight_sets={"grad_weight": bound(wider, backward=backward)},
        selects=frozenset({"weight"}),
        stores={"parameters": "all"},  # those that no set has keep their values
        departures="A layer that is denser than backward has one set for all passes. That its authors keep the first "
        "and last layers dense was not checked, and no layer is kept for it: last_layer and keep_dense do. Its "
        "exploration loss is not counted.",
    )


METHOD = with_parameters(
    top_kast,
    Parameter(name="backward", default=0.5, least=0, most=0.99, meaning="sparsity of the weights that get gradients, "
              "where the others are sparser", source="ours, beside a target of 80 %; the paper has several, which were "
              "not checked"),
)  # fmt: skip
