"""MEST with a soft memory bound: grows weights first, trains more than the target, and prunes at the next update."""

from typing import Any

from swatcost.common.bound import bound
from swatcost.methods.method import Method, sparse_in, with_parameters
from swatcost.methods.parameter import Parameter
from swatcost.methods.phase import Phase

_HALVED, _OVER = 90 / 160, 120 / 160  # epochs of 160 in the public scripts


def schedule(steps: int, target: Any, *, mutation: float) -> tuple[Phase, ...]:
    """`mutation` below the target's sparsity to epoch 90 of 160, half of that to epoch 120, then at the target."""
    return (
        Phase.at(_HALVED, target - mutation, target),
        Phase.at(_OVER - _HALVED, target - mutation / 2, target),
        Phase(1 - _OVER),
    )


def mest_soft(*, mutation: float) -> Method:
    """MEST+EM&S with this share of all weights above the target at first."""
    return Method(
        name="mest-soft",
        title="Memory-economic sparse training, soft memory bound (EM&S)",
        citation="Yuan et al., NeurIPS 2021",
        sparse=sparse_in(forward=("weight",), grad_input=("weight",)),
        weight_gradient="active",
        target_schedule=bound(schedule, mutation=mutation),
        departures="The authors' README has 2 %, 1 % and 0 as an example; their CIFAR scripts have 5 %, 2.5 % and 0, "
        "at targets of 90 and 95 %. What their ImageNet runs used was not found.",
    )


METHOD = with_parameters(
    mest_soft,
    Parameter(name="mutation", default=0.02, least=0, most=0.5, meaning="share of all weights that training has above "
              "the target's until epoch 90 of 160", source="the authors' public README: 88, 89, 90 %"),
)  # fmt: skip
