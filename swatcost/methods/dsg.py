"""Dynamic sparse graph: a low-dimensional projection selects the outputs that are worth computing.

Outputs that are not selected are not computed in the forward pass, nor are their gradients in the backward pass.
"""

import math

from swatcost.methods.method import Method, sparse_in
from swatcost.network.layer import Layer

_EPSILON = 0.5  # the projection's relative error in distances [-]; our choice


def projected_dimension(F: int, dimension: int) -> int:
    """The projected dimension [-], for F filters of dimension C · R · S.

    k = 4 · ln F / (ε² / 2 − ε³ / 3), rounded down, at most `dimension`

    Source: the bound of the Johnson–Lindenstrauss lemma in the form of Dasgupta and Gupta, 2003, which rounds up.

    >>> projected_dimension(F=128, dimension=1152)  # 4 · 4.852 / (0.125 − 0.041667) = 232.9
    232
    """
    bound = 4 * math.log(F) / (_EPSILON**2 / 2 - _EPSILON**3 / 3)
    return min(int(bound), dimension)


def search_macs(layer: Layer) -> float:
    """MACs of estimating every output of N images in the projected space: N · F · k · H · W."""
    d = layer.symbols
    return d.N * d.F * projected_dimension(d.F, d.C * d.R * d.S) * d.H * d.W


METHOD = Method(
    name="dsg",
    title="Dynamic sparse graph",
    citation="Liu et al., ICLR 2019",
    sparse=sparse_in(forward=("output",), grad_input=("output",), grad_weight=("output",)),
    extra_macs=search_macs,
    departures="The search for the outputs to compute is charged to the forward pass, F · k multiplications per output "
    "position; the projection itself uses additions only (ternary matrices) and is not counted.",
)
