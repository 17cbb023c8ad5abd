"""Sparse Weight Activation Training: sparse weights in forward and grad_input, sparse activations in grad_weight.

Every weight gets a gradient and is updated, so the set of active weights can change from step to step.
"""

from swatcost.methods.method import Method, sparse_in

METHOD = Method(
    name="swat",
    title="Sparse Weight Activation Training",
    citation="Raihan and Aamodt, NeurIPS 2020, Section 3.3 and Algorithm 1",
    sparse=sparse_in(forward=("weight",), grad_input=("weight",), grad_weight=("activation",)),
    selects=frozenset({"weight", "activation"}),
    across_layers="fixed or variable",
)
