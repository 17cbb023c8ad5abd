"""Optimizers: what they keep per parameter, and what they hold while they update."""

from dataclasses import dataclass

from swatcost.common.registry import Registry


@dataclass(frozen=True)
class Optimizer:
    """`states` per trained parameter element, and temporary copies of a parameter while it is updated.

    The last copy of the parameter before is freed only when its successor replaces it.
    """

    name: str
    title: str
    states: int
    working_copies: int


OPTIMIZERS = Registry[Optimizer](
    "optimizer",
    Optimizer,
    Optimizer("sgd", "stochastic gradient descent", 0, 0),
    Optimizer("momentum", "SGD with momentum", 1, 0),
    Optimizer("adam", "Adam: both moments; two temporaries, a square root and its quotient", 2, 2),
    Optimizer("adamw", "AdamW, same memory as Adam", 2, 2),
)
