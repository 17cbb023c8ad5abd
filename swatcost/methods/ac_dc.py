"""AC/DC: dense and sparse phases in turns, which give a dense and a sparse model in one run."""

from math import ceil
from typing import Any

from swatcost.common.bound import bound
from swatcost.common.errors import SwatcostError
from swatcost.methods.method import Method, sparse_in, with_parameters
from swatcost.methods.parameter import Parameter
from swatcost.methods.phase import Phase

_RUN = "the authors' configuration for ResNet-50 on ImageNet, 100 epochs"
_ROUNDING = 1e-9


def schedule(steps: int, **shares: float) -> tuple[Phase, ...]:
    """Dense at first, sparse and dense in turns, dense for longer, and sparse to the end.

    With the defaults exactly half of the run is sparse, so that training / dense = ½ + ½ · f.
    """
    turns = 1 - shares["warmup"] - shares["last_dense"] - shares["last_sparse"]
    period = shares["period"]
    return (
        Phase(shares["warmup"], scale=0.0),
        *(
            Phase(min(period, turns - part * period), scale=1.0 - part % 2)
            for part in range(ceil(turns / period - _ROUNDING))
        ),
        Phase(shares["last_dense"], scale=0.0),
        Phase(shares["last_sparse"]),
    )


def ac_dc(**shares: Any) -> Method:
    """AC/DC with phases of these shares of the run."""
    if shares["warmup"] + shares["last_dense"] + shares["last_sparse"] > 1 + _ROUNDING:
        raise SwatcostError("method 'ac-dc': warmup, last_dense and last_sparse add up to more than 1, give less")
    return Method(
        name="ac-dc",
        title="Alternating compressed / decompressed training",
        citation="Peste et al., NeurIPS 2021; phases of their public configuration",
        sparse=sparse_in(forward=("weight",), grad_input=("weight",)),
        weight_gradient="active",
        across_layers="fixed or variable",
        schedule=bound(schedule, **shares),
        departures="Its authors prune by global magnitude, of which the sparsity per layer is an outcome, with every "
        "layer sparse; in their uniform runs the first convolution and the last layer are dense. Give the distribution "
        "and the layers. With ten epochs of 100 as warm-up, as here; their CIFAR runs have other phases.",
    )


METHOD = with_parameters(
    ac_dc,
    Parameter(name="warmup", default=0.1, least=0, most=1, meaning="share of the run in the dense phase at the start",
              source=f"{_RUN}: [0, 10)"),
    Parameter(name="period", default=0.05, least=0.005, most=1, meaning="share of the run in each phase that follows, "
              "sparse ones first", source=f"{_RUN}: 5 epochs"),
    Parameter(name="last_dense", default=0.1, least=0, most=1, meaning="share of the run in the last dense phase",
              source=f"{_RUN}: [75, 85)"),
    Parameter(name="last_sparse", default=0.15, least=0, most=1, meaning="share of the run in the last sparse phase",
              source=f"{_RUN}: [85, 100)"),
)  # fmt: skip
