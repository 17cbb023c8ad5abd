"""The error of a module's forward pass, with the place where it was raised."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from swatcost.common.errors import SwatcostError, first_line
from swatcost.tracing.batch import Batch
from swatcost.tracing.running_modules import Frame


class ForwardError(SwatcostError):
    """The module raised an exception; the message names the submodule and the shapes of its inputs."""

    def __init__(
        self, error: BaseException, network: str, inputs: Sequence[Tensor], batch: Batch, place: Frame | None
    ) -> None:
        self.place = place and replace(place, args=())  # without the graph that its tensors hold
        given = " and ".join(_times(batch.sample_shape(tuple(each.shape))) for each in inputs if each.dim())
        where = ""
        if place is not None:
            seen = " and ".join(map(_times, place.shapes))  # hooks do not see keyword arguments
            where = f"{place.name} ({type(place.module).__name__}){' was given ' * bool(seen)}{seen}: "
        samples = f"a batch of {batch.size} samples of {given}, which it is traced with"
        super().__init__(f"{network} does not accept {samples}: {where}{first_line(error)}{_remedy(error)}")

    def __reduce__(self) -> tuple[type[SwatcostError], tuple[str]]:
        """Another process gets the message; the frame stays here."""
        return SwatcostError, (str(self),)


def _remedy(error: BaseException) -> str:
    """What to do where the meta device is the reason: it has shapes, but no values."""
    if "meta" in str(error).lower():
        return "; the meta device holds no values: build the network and its inputs on the CPU"
    return ""


def _times(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "scalar"
