"""What went wrong in a module's forward pass, and where."""

from collections.abc import Sequence

from torch import Tensor

from swatcost.common.errors import SwatcostError, first_line
from swatcost.tracing.running_modules import Frame


class ForwardError(SwatcostError):
    """The module raised: what it raised, in which of its parts, and what that part was given."""

    def __init__(
        self, error: BaseException, network: str, inputs: Sequence[Tensor], batch_size: int, place: Frame | None
    ) -> None:
        self.place = place
        given = " and ".join(_times(each.shape[1:]) for each in inputs if each.dim())
        where = ""
        if place is not None:
            seen = " and ".join(map(_times, place.shapes))  # keyword arguments are not seen
            where = f"{place.name} ({type(place.module).__name__}){' was given ' * bool(seen)}{seen}: "
        batch = f"traced in a batch of {batch_size}"
        super().__init__(f"{network} cannot take an input of {given} ({batch}): {where}{first_line(error)}")


def _times(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "scalar"
