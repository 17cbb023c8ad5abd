"""GraNet: prunes gradually from a sparser or dense start, and regrows by the dense gradient at each update."""

from itertools import pairwise
from typing import Any

from swatcost.common.bound import bound
from swatcost.common.elementwise import least
from swatcost.methods.method import Method, sparse_in, with_parameters
from swatcost.methods.parameter import Parameter
from swatcost.methods.phase import Phase

_RUN = "the authors' public command for ResNet-50 on ImageNet"
_STAIRS = 20  # parts of the curve; any number gives the same cost, as each has its mean


def _mean_left(begin: float, end: float) -> float:
    """The mean of (1 − u)³ [-] for u from begin to end."""
    return ((1 - begin) ** 4 - (1 - end) ** 4) / (4 * (end - begin))


def schedule(steps: int, target: Any, *, initial: float, end: float, delta_t: int) -> tuple[Phase, ...]:
    """From the initial sparsity to the target along s_t = s_f − (s_f − s_i)(1 − u)³, with a dense gradient per update.

    u goes from 0 to 1 until `end` of the run. Each phase has the curve's mean over it, so that the mean over the run is
    s_f − (s_f − s_i) · end / 4.
    """
    first = least(target, initial)  # a target below it is there from the start
    edges = [part / _STAIRS for part in range(_STAIRS + 1)]
    stairs = [(end / _STAIRS, target - (target - first) * _mean_left(u, after)) for u, after in pairwise(edges)]
    updates = (steps // delta_t) / steps
    return tuple(
        Phase.at(share * part, sparsity, target, dense_weight_gradient=dense)
        for share, sparsity in (*stairs, (1 - end, target))
        for part, dense in ((1 - updates, False), (updates, True))
    )


def granet(*, initial: float, end: float, delta_t: int) -> Method:
    """GraNet from the sparsity `initial`, at the target from `end` of the run."""
    return Method(
        name="granet",
        title="Gradual pruning with zero-cost neuroregeneration",
        citation="Liu et al., NeurIPS 2021",
        sparse=sparse_in(forward=("weight",), grad_input=("weight",)),
        weight_gradient="active",
        across_layers="variable",
        target_schedule=bound(schedule, initial=initial, end=end, delta_t=delta_t),
        departures="Sparsity follows its curve; the algorithm changes it in stairs every delta_t steps, which in the "
        "authors' run of 1 M steps adds 0.06 points to the mean density from 50 % to 80 %. Pruning is by global "
        "magnitude after an ERK start, so that layers' sparsities are an outcome: those of the target, scaled, stand "
        "for them. Updates are taken to go on to the end of the run.",
    )


METHOD = with_parameters(
    granet,
    Parameter(name="initial", default=0.5, least=0, most=0.99, meaning="weight sparsity at the start; 0 trains from a "
              "dense network", source=f"{_RUN}: init-density 0.5"),
    Parameter(name="end", default=0.3, least=0, most=1, meaning="share of the run after which sparsity is final",
              source=f"{_RUN}: final_prune_epoch 30 of 100"),
    Parameter(name="delta_t", default=4000, least=1, meaning="steps from one update of the connections to the next",
              source=f"{_RUN}: update_frequency 4000"),
)  # fmt: skip
