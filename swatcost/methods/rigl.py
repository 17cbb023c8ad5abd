"""RigL: regrows weights where the dense gradient is largest, and computes that gradient only in some steps."""

from swatcost.methods.method import Method, Phase, sparse_in

_EVERY = 100  # ΔT, steps between updates of the connections
_UPDATED_SHARE = 25 / 32  # connections are updated up to step 25k of 32k


def schedule(steps: int) -> tuple[Phase, ...]:
    """A dense gradient in floor(T_end / ΔT) + 1 steps, as the algorithm runs."""
    dense = min((int(_UPDATED_SHARE * steps) // _EVERY + 1) / steps, 1.0)
    return (Phase(1 - dense), Phase(dense, dense_weight_gradient=True))


def published_schedule(steps: int) -> tuple[Phase, ...]:
    """One dense gradient per ΔT sparse ones: (3·f_S·ΔT + 2·f_S + f_D) / (ΔT + 1)     (appendix H)."""
    dense = 1 / (_EVERY + 1)
    return (Phase(1 - dense), Phase(dense, dense_weight_gradient=True))


METHOD = Method(
    name="rigl",
    title="Rigging the lottery",
    citation="Evci et al., ICML 2020",
    sparse=sparse_in(forward=("weight",), grad_input=("weight",)),
    weight_gradient="active",
    schedule=schedule,
    published_schedule=published_schedule,
)
