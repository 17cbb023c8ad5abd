"""Sparse networks from scratch: sparse momentum, which needs the gradient of every weight in every step."""

from swatcost.methods.method import Method, sparse_in

METHOD = Method(
    name="snfs",
    title="Sparse networks from scratch",
    citation="Dettmers and Zettlemoyer, 2019",
    sparse=sparse_in(forward=("weight",), grad_input=("weight",)),
    updates="active",
    across_layers="variable",
    departures="Its sparsity per layer is an outcome of training: give it with a distribution; otherwise every layer "
    "gets the target.",
)
