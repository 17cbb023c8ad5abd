"""S-STE: FST with a continuous pruning function, so that masks need no search and the run no dense end."""

from swatcost.methods.feed_forward import FEED_FORWARD, in_blocks_of_4
from swatcost.methods.method import Method, sparse_in

METHOD = Method(
    name="s-ste",
    title="Smooth straight-through estimator, 2:4",
    citation="Hu et al., NeurIPS 2024",
    sparse=sparse_in(forward=("weight",), grad_input=("weight",), grad_weight=("output",)),
    targets={"weights": 0.5, "grads": 0.5},
    group=4,
    sparse_only=in_blocks_of_4,
    sparse_layers=FEED_FORWARD,
    departures="grad_input counts half of the products, as many weights are zero. They are 2:4 along the inputs, so "
    "that a 2:4 kernel, which wants them along its sum over outputs, may not run that pass. Pruning in every step and "
    "8-bit numbers are not counted. Feed-forward layers are found by the names of their modules.",
)
