"""A network's output as class scores."""

from typing import Any

from torch import Tensor, nn

from swatcost.common.errors import SwatcostError, first_line
from swatcost.reference.runnable import Runnable


def classes_of(built: Runnable) -> int:
    """The number of classes of a network's output.

    Raises SwatcostError unless it gives one row of scores per sample.
    """
    shapes = built.network.output_shapes
    if not shapes or len(shapes[0]) != 2 or shapes[0][0] != built.network.batch_size:
        raise SwatcostError(f"{built.network.name} does not give one row of scores per sample, so it has no loss")
    return shapes[0][1]


def scores(module: nn.Module, images: Tensor) -> Tensor:
    """A network's scores for a batch: the first tensor of its output.

    Images are cast to the dtype of its parameters.

    Raises SwatcostError if the network raises anything.
    """
    try:
        floats = (parameter.dtype for parameter in module.parameters() if parameter.is_floating_point())
        output: Any = module(images.to(next(floats, images.dtype)))
    except SwatcostError:
        raise
    except Exception as error:  # a user's module may raise anything
        raise SwatcostError(
            f"the network raised {type(error).__name__} on a batch of {len(images)}: {first_line(error)}"
        ) from error
    while not isinstance(output, Tensor):
        output = output[0] if isinstance(output, tuple | list) else next(iter(output.values()))
    return output
