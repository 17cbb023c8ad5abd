"""SET-ITOP: SET with more weights taking part over the run; regrows random ones, without a dense gradient."""

from swatcost.methods.method import Method, sparse_in

METHOD = Method(
    name="set-itop",
    title="In-time over-parameterization with SET",
    citation="Liu et al., ICML 2021",
    sparse=sparse_in(forward=("weight",), grad_input=("weight",)),
    weight_gradient="active",
    departures="Its updates every 1,500 steps cost no MACs, so that it has no parameter for them. Its runs start from "
    "ERK: give the distribution.",
)
