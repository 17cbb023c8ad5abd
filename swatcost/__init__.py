"""swatcost estimates what it costs to train a neural network, densely and sparsely.

    >>> import swatcost
    >>> estimate = swatcost.estimate("resnet50", weights=0.8, acts=0.8, period=1000)
    >>> round(estimate.speedup, 2)  # Eq. 7: 4.13
    4.13

Importing this package imports neither torch nor pandas; `trace`, and `load` for networks that have to be traced, import
torch when called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from swatcost.common import interrupts  # noqa: F401  (first: Ctrl-C is quiet from here on)
from swatcost.common.errors import SwatcostError
from swatcost.common.lazy import attributes_from
from swatcost.estimate import Estimate, estimate
from swatcost.loading import load
from swatcost.moved import keep_old_names
from swatcost.network import Layer, Network
from swatcost.network.formulas import formula
from swatcost.version import __version__

if TYPE_CHECKING:
    from swatcost.planning.audit import audit
    from swatcost.planning.conventions import conventions
    from swatcost.planning.explanation import explain
    from swatcost.planning.solution import solve
    from swatcost.planning.summary import summary
    from swatcost.planning.sweep import sweep
    from swatcost.tracing import trace

__all__ = [
    "Estimate",
    "Layer",
    "Network",
    "SwatcostError",
    "__version__",
    "audit",
    "conventions",
    "estimate",
    "explain",
    "formula",
    "load",
    "solve",
    "summary",
    "sweep",
    "trace",
]


keep_old_names()


def __dir__() -> list[str]:
    return __all__


__getattr__ = attributes_from(
    __name__,
    {
        "swatcost.tracing": ("trace",),
        "swatcost.planning": ("audit", "conventions", "explain", "solve", "summary", "sweep"),
    },
)
