"""Precisions in which a training step may run: bytes per number of everything that it holds."""

from dataclasses import dataclass

from swatcost.common.registry import Registry

FULL = 4
"""Bytes per number in single precision."""


@dataclass(frozen=True)
class Precision:
    """Bytes per number of parameters and gradients, of activations, and of the optimizer's state.

    They replace the 4 bytes per number of a trace in single precision; tensors traced at another size keep it.

    `master` is the bytes per number of the master copy of each parameter that the optimizer updates, 0 if it updates
    the parameter itself.
    """

    name: str
    title: str
    parameter: int
    activation: int
    state: int
    master: int = 0


PRECISIONS = Registry[Precision](
    "precision",
    Precision,
    Precision("fp32", "4 bytes per number everywhere", 4, 4, 4),
    Precision("bf16", "2 bytes per number everywhere", 2, 2, 2),
    Precision("fp16", "2 bytes per number everywhere", 2, 2, 2),
    Precision("mixed", "2 bytes for parameters, gradients, activations; 4 for state, master weights", 2, 2, 4, 4),
)
