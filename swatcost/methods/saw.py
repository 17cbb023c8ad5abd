"""SAW: a dense forward pass with SWAT's backward pass."""

from swatcost.methods.method import Method, sparse_in

METHOD = Method(
    name="saw",
    title="SWAT in the backward pass only",
    citation="Raihan and Aamodt, NeurIPS 2020, A.8",
    sparse=sparse_in(grad_input=("weight",), grad_weight=("activation",)),
    selects=frozenset({"weight", "activation"}),
    unstructured=False,
)
