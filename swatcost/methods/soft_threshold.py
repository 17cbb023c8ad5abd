"""STR: soft thresholds of the weights are trained, one per layer, so sparsity is learned."""

from swatcost.methods.method import Method, sparse_in

METHOD = Method(
    name="str",
    title="Soft threshold reparameterization",
    citation="Kusupati et al., ICML 2020",
    sparse=sparse_in(forward=("weight",), grad_input=("weight",)),
    across_layers="variable",
    departures="Its sparsity per layer and over the run is an outcome of training, which starts almost dense: the "
    "target, a table or a checkpoint stands for the average over the run. Every weight is kept, and its gradient "
    "counted. The thresholding itself is not counted.",
)
