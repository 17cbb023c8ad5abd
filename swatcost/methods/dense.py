"""Dense training: nothing is sparse."""

from swatcost.methods.method import Method, sparse_in

METHOD = Method(
    name="dense",
    title="Dense training",
    citation="the baseline of every table",
    sparse=sparse_in(),
    unstructured=False,
)
