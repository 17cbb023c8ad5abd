"""Many estimates at once: the formulas of one estimate, applied to arrays of settings."""

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
"""The settings of a sweep."""


def sweep(network: Network | str | Path, *, paired: bool = False, **settings: Unpack[Settings]) -> pandas.DataFrame:
    """Estimates every combination of settings, by array arithmetic.

    Settings are those of `estimate`; sparsities, periods, names and batch sizes may be lists. With `paired`, weights,
    acts, grads and period are combined first with first, second with second, instead of each with each; a single value
    goes with all. The frame has one row per combination, the settings in the first columns. A target that a method does
    not use is NaN in that method's rows, and its values are not combined there. Sparsities and reductions are
    fractions, times are in seconds; speedups are ideal but for attainable_speedup; training_macs and inference_macs are
    sparse, per sample. break_even_period is NaN where no period pays off.

    Raises SwatcostError for settings that `estimate` refuses.

    >>> import swatcost
    >>> frame = swatcost.sweep("resnet50", weights=[0.8, 0.9], acts=[0.8, 0.9], period=1000, paired=True)
    >>> [round(100 * reduction, 2) for reduction in frame["training_reduction"]]  # Table 3: 76.1 and 85.6
    [76.12, 85.63]
    """
    from swatcost.planning.grid import swept

    return swept(counted_network(network), SWEEPING.given(settings), SWEEPING, paired)
