"""Many estimates at once: the same formulas as one estimate, on arrays of settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from swatcost.loading import counted_network
from swatcost.methods.method import OPERANDS
from swatcost.network import Network
from swatcost.setting import Scope, Settings

if TYPE_CHECKING:
    import pandas

SWEEPING = Scope(several=(*OPERANDS, "period", "method", "distribution", "convention", "device", "batch_size"))
"""Settings as a sweep takes them."""


def sweep(network: Network | str | Path, *, paired: bool = False, **settings: Unpack[Settings]) -> pandas.DataFrame:
    """Estimates every combination of settings, by array arithmetic.

    Each setting is what `estimate` takes; sparsities, periods, names and batch sizes may be several. With `paired`,
    weights, acts, grads and period are taken together, the first with the first, instead of each with each; those that
    are single go with all. The frame has one row per combination, the settings in the first columns. A target that some
    of the methods cannot use is missing (NaN) for those, which have no row for each of its values. Sparsities and
    reductions are fractions, times seconds; training_macs and inference_macs are sparse ones per sample. A period that
    never pays is missing (NaN).

    Raises SwatcostError for whatever `estimate` refuses.

    >>> import swatcost
    >>> frame = swatcost.sweep("resnet50", weights=[0.8, 0.9], acts=[0.8, 0.9], period=1000, paired=True)
    >>> [round(100 * reduction, 2) for reduction in frame["training_reduction"]]  # Table 3: 76.1 and 85.6
    [76.12, 85.63]
    """
    from swatcost.planning.grid import swept

    return swept(counted_network(network), SWEEPING.given(settings), SWEEPING, paired)
