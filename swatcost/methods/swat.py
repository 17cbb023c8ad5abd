"""Sparse Weight Activation Training: sparse weights forward and for grad_input, sparse activations for grad_weight.

Every weight gets its gradient and is updated, so that the active ones can change from step to step.
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
