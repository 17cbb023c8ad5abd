"""SLoPe: a random 2:4 mask that stays, pruned again for grad_input, and low-rank adapters at the end of the run."""

from swatcost.common.bound import bound
from swatcost.methods.added_work import low_rank
from swatcost.methods.method import Method, sparse_in, with_parameters
from swatcost.methods.n_of_m import N, has_groups, n_of_m, pruned_again
from swatcost.methods.parameter import Parameter
from swatcost.methods.phase import Phase
from swatcost.network.layer import Layer

_NARROWEST = 5  # width over height beyond which its public code leaves a matrix dense, as that of logits


def schedule(steps: int, *, adapted: float) -> tuple[Phase, ...]:
    """Without adapters, then with them for the share `adapted` of the run."""
    return (Phase(1 - adapted, adds=False), Phase(adapted))


def is_pruned(layer: Layer, *, m: int) -> bool:
    """Whether it is a linear layer that its public code prunes."""
    sides = layer.matrix_shape
    return layer.kind == "linear" and has_groups(layer, m=m) and max(sides) <= _NARROWEST * min(sides)


def slope(*, rank: int, adapted: float, n: int, m: int) -> Method:
    """SLoPe with adapters of this rank."""
    return Method(
        name="slope",
        title="Double-pruned sparse plus lazy low-rank adapters",
        citation="Mozaffari et al., ICLR 2025",
        sparse=sparse_in(forward=("weight",), grad_input=("weight",)),
        updates="active",
        weight_sets={"grad_input": bound(pruned_again, m=m)},
        schedule=bound(schedule, adapted=adapted),
        added=bound(low_rank, rank=rank),
        stores={"parameters": "active", "gradients": "active", "state": "active", "transposes": 1, "mask_bits": 8},
        **(
            n_of_m("slope", n=n, m=m)
            | {
                "sparse_only": bound(is_pruned, m=m),
                "sparse_layers": "linear layers whose longer side is at most 5 times the shorter",
            }
        ),
        departures="grad_weight is multiplied in full and pruned to the mask afterwards, as in its public code; the "
        "optimizer updates that half alone. Its 9.375 % are a share of all weights: grad_input reads 0.40625 of them "
        "under 2:4.",
    )


METHOD = with_parameters(
    slope,
    Parameter(name="rank", default=64, least=0, meaning="rank of the adapters",
              source="its README: 1.56 % of the width, which is 4096 here"),
    Parameter(name="adapted", default=0.01, least=0, most=1, meaning="share of the run at its end with adapters",
              source="Mozaffari et al., ICLR 2025: the last 1 %"),
    N,
    Parameter(name="m", default=4, least=1, most=64, meaning="M, weights in a group along the input channels",
              source="Mozaffari et al., ICLR 2025: 2:4"),
)  # fmt: skip
