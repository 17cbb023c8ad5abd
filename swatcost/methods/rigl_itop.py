"""RigL-ITOP: RigL whose updates are rare and go on to the end, so that more weights take part over the run."""

from swatcost.common.bound import bound
from swatcost.methods.method import Method, sparse_in, with_parameters
from swatcost.methods.parameter import Parameter
from swatcost.methods.rigl import published_schedule, schedule


def rigl_itop(*, delta_t: int) -> Method:
    """RigL-ITOP with a dense gradient every `delta_t` steps."""
    return Method(
        name="rigl-itop",
        title="In-time over-parameterization with RigL",
        citation="Liu et al., ICML 2021",
        sparse=sparse_in(forward=("weight",), grad_input=("weight",)),
        weight_gradient="active",
        schedule=bound(schedule, delta_t=delta_t, t_end=1.0),
        published_schedule=bound(published_schedule, delta_t=delta_t),
        departures="Under convention rigl it has RigL's closed form with its own ΔT; its authors print RigL's ratios.",
    )


METHOD = with_parameters(
    rigl_itop,
    Parameter(name="delta_t", default=4000, least=1, meaning="steps from one update of the connections to the next",
              source="the authors' public commands for CIFAR and ImageNet: update_frequency 4000"),
)  # fmt: skip
