"""meProp: only the largest output gradients are propagated; the forward pass is dense."""

from swatcost.methods.method import Method, sparse_in

METHOD = Method(
    name="meprop",
    title="Minimal effort back propagation",
    citation="Sun et al., ICML 2017",
    sparse=sparse_in(grad_input=("output",), grad_weight=("output",)),
    unstructured=False,
    departures="The selection of the largest gradients in every iteration is not counted.",
)
