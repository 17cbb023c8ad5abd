"""SWAT that prunes whole R × S weight kernels by L1 norm; activation sparsity stays unstructured."""

from swatcost.methods.method import Method, sparse_in

METHOD = Method(
    name="swat-structured",
    title="SWAT with channel pruning",
    citation="Raihan and Aamodt, NeurIPS 2020, Section 3.3.1",
    sparse=sparse_in(forward=("weight",), grad_input=("weight",), grad_weight=("activation",)),
    selects=frozenset({"weight", "activation"}),
    across_layers="fixed or variable",
    unstructured=False,
    structured=True,
)
