"""Powerpropagation: weights are powers of what is trained, so that small ones stay small and can be pruned."""

from swatcost.methods.method import Method, sparse_in

METHOD = Method(
    name="powerpropagation",
    title="Powerpropagation",
    citation="Schwarz et al., NeurIPS 2021",
    sparse=sparse_in(forward=("weight",), grad_input=("weight",)),
    across_layers="variable",
    departures="Its sparsity per layer and over the run is an outcome of training and of the pruning that it is "
    "combined with: the target, a table or a checkpoint stands for the average over the run. The powers of the weights "
    "are not counted.",
)
