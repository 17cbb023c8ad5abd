"""Dynamic sparse reparameterization: one global threshold; regrows in proportion to each layer's survivors."""

from swatcost.methods.method import Method, sparse_in

METHOD = Method(
    name="dsr",
    title="Dynamic sparse reparameterization",
    citation="Mostafa and Wang, ICML 2019",
    sparse=sparse_in(forward=("weight",), grad_input=("weight",)),
    weight_gradient="active",
    across_layers="variable",
    keeps_dense=("*downsample*", "*shortcut*"),
    departures="Its sparsity per layer is an outcome of training: give it with a distribution; otherwise every layer "
    "gets the target.",
)
