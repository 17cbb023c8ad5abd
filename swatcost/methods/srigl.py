"""SRigL: RigL whose neurons all have the same number of incoming weights, a structure that hardware can use."""

from swatcost.common.bound import bound
from swatcost.methods.method import Method, sparse_in, with_parameters
from swatcost.methods.parameter import Parameter
from swatcost.methods.rigl import published_schedule, schedule


def srigl(*, delta_t: int, t_end: float) -> Method:
    """SRigL with a dense gradient every `delta_t` steps, up to the share `t_end` of the run."""
    return Method(
        name="srigl",
        title="Structured RigL with a constant fan-in",
        citation="Lasby et al., ICLR 2024",
        sparse=sparse_in(forward=("weight",), grad_input=("weight",)),
        weight_gradient="active",
        schedule=bound(schedule, delta_t=delta_t, t_end=t_end),
        published_schedule=bound(published_schedule, delta_t=delta_t),
        departures="The rounding of each layer's density to a whole fan-in and the neurons that it removes are left "
        "out. Its public notebook has 4·f_S where RigL's closed form has 2·f_S, a slip that is not repeated here.",
    )


METHOD = with_parameters(
    srigl,
    Parameter(name="delta_t", default=100, least=1, meaning="ΔT, steps from one update of the connections to the next",
              source="the authors' public configuration: 100 steps of 4,096 samples"),
    Parameter(name="t_end", default=0.75, least=0, most=1, meaning="share of the run's steps after which the "
              "connections stay as they are", source="the authors' public code: T_end = 0.75 of the steps"),
)  # fmt: skip
