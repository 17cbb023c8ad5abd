"""RigL: regrows weights where the dense gradient is largest, and computes that gradient only in some steps."""

from swatcost.common.bound import bound
from swatcost.methods.method import Method, sparse_in, with_parameters
from swatcost.methods.parameter import Parameter
from swatcost.methods.phase import Phase


def schedule(steps: int, *, delta_t: int, t_end: float) -> tuple[Phase, ...]:
    """A dense gradient in floor(T_end / ΔT) + 1 steps, as the algorithm runs."""
    dense = min((int(t_end * steps) // delta_t + 1) / steps, 1.0)
    return (Phase(1 - dense), Phase(dense, dense_weight_gradient=True))


def published_schedule(steps: int, *, delta_t: int) -> tuple[Phase, ...]:
    """One dense gradient per ΔT sparse ones: (3·f_S·ΔT + 2·f_S + f_D) / (ΔT + 1)     (appendix H)."""
    dense = 1 / (delta_t + 1)
    return (Phase(1 - dense), Phase(dense, dense_weight_gradient=True))


def rigl(*, delta_t: int, t_end: float) -> Method:
    """RigL with a dense gradient every `delta_t` steps, up to the share `t_end` of the run."""
    return Method(
        name="rigl",
        title="Rigging the lottery",
        citation="Evci et al., ICML 2020",
        sparse=sparse_in(forward=("weight",), grad_input=("weight",)),
        weight_gradient="active",
        schedule=bound(schedule, delta_t=delta_t, t_end=t_end),
        published_schedule=bound(published_schedule, delta_t=delta_t),
    )


METHOD = with_parameters(
    rigl,
    Parameter(
        name="delta_t", default=100, least=1, meaning="ΔT, steps from one update of the connections to the next",
        source="Evci et al., ICML 2020",
    ),
    Parameter(
        name="t_end", default=25 / 32, least=0, most=1, meaning="share of the run's steps after which the connections "
        "stay as they are; the closed form of convention rigl has updates to the end",
        source="Evci et al., ICML 2020: step 25k of 32k",
    ),
)  # fmt: skip
