"""Dynamic sparse training: thresholds are trained, so training starts dense and its sparsity is learned."""

from swatcost.methods.method import Method, sparse_in
from swatcost.methods.phase import Phase

_DENSE_SHARE = 1 / 160  # one epoch of 160; our choice, the source gives no number


def schedule(steps: int) -> tuple[Phase, ...]:
    """Dense for the first epoch, then at the target sparsity."""
    return (Phase(_DENSE_SHARE, scale=0.0), Phase(1 - _DENSE_SHARE))


METHOD = Method(
    name="dst",
    title="Dynamic sparse training",
    citation="Liu et al., ICLR 2020",
    sparse=sparse_in(forward=("weight",), grad_input=("weight",)),
    across_layers="variable",
    schedule=schedule,
    departures="Its sparsity is an outcome of training: the target stands for the average after the first epoch, which "
    "is assumed dense.",
)
