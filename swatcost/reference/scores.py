"""What a network gives, as scores of classes."""

from typing import Any

from torch import Tensor, nn

from swatcost.common.errors import SwatcostError, first_line
from swatcost.reference.runnable import Runnable


def classes_of(built: Runnable) -> int:
    """The classes that a network's output distinguishes.

    Raises SwatcostError unless it gives one row of scores for each sample.
    """
    shapes = built.network.output_shapes
    if not shapes or len(shapes[0]) != 2 or shapes[0][0] != built.network.batch_size:
        raise SwatcostError(f"{built.network.name} gives no row of scores for each sample, so no loss is known")
    return shapes[0][1]


def scores(module: nn.Module, images: Tensor) -> Tensor:
    """What a network makes of a batch: the scores, if it gives more than those, which are the first tensor.

    Images are given in the type of its parameters.

    Raises SwatcostError where it raises anything.
    """
    try:
        floats = (parameter.dtype for parameter in module.parameters() if parameter.is_floating_point())
        output: Any = module(images.to(next(floats, images.dtype)))
    except SwatcostError:
        raise
    except Exception as error:  # a user's module may raise what it likes
        raise SwatcostError(
            f"the network raised {type(error).__name__} on a batch of {len(images)}: {first_line(error)}"
        ) from error
    while not isinstance(output, Tensor):
        output = output[0] if isinstance(output, tuple | list) else next(iter(output.values()))
    return output
