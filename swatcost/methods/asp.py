"""ASP: trains densely, prunes once to 2:4 by magnitude, and trains a second time with that mask."""

from swatcost.common.bound import bound
from swatcost.methods.method import Method, sparse_in, with_parameters
from swatcost.methods.n_of_m import M, N, n_of_m
from swatcost.methods.parameter import Parameter
from swatcost.methods.phase import Phase


def schedule(steps: int, *, again: float) -> tuple[Phase, ...]:
    """A dense run, and one with the mask, `again` times as long."""
    return (Phase(1 / (1 + again), scale=0.0), Phase(again / (1 + again)))


def asp(*, again: float, n: int, m: int) -> Method:
    """ASP whose second run is `again` times as long as the dense one."""
    return Method(
        name="asp",
        title="Automatic sparsity: train, prune to N:M, train again",
        citation="Mishra et al. 2021",
        sparse=sparse_in(forward=("weight",)),
        schedule=bound(schedule, again=again),
        **n_of_m("asp", n=n, m=m),
        departures="A run is both runs together, and reductions are of as many dense steps. Against the dense run "
        "alone, 1 + again times as many steps are trained. Gradients are those of all weights, and grad_input counts "
        "in full, as with sr-ste; the mask hides what an update gives to pruned weights.",
    )


METHOD = with_parameters(
    asp,
    Parameter(
        name="again", default=1.0, least=0, most=100, meaning="length of the second run as a share of the first",
        source="Mishra et al. 2021: the first run's hyperparameters again",
    ),
    N,
    M,
)  # fmt: skip
