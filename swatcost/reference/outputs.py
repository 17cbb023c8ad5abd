"""What a network gives, as scores of classes."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from swatcost.errors import SwatcostError
from swatcost.reference.modules import Runnable


def classes_of(built: Runnable) -> int:
    """The classes that a network's output distinguishes.

    Raises SwatcostError unless it gives one row of scores for each sample.
    """
    shapes = built.network.output_shapes
    if not shapes or len(shapes[0]) != 2 or shapes[0][0] != built.network.batch_size:
        raise SwatcostError(f"{built.network.name} gives no row of scores for each sample, so no loss is known")
    return shapes[0][1]


def scores(output: Any) -> Tensor:
    """The scores, if a network gives more than those: the first tensor."""
    while not isinstance(output, Tensor):
        output = output[0] if isinstance(output, tuple | list) else next(iter(output.values()))
    return output
