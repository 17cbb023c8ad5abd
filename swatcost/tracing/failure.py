"""What went wrong in a module's forward pass, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from swatcost.common.errors import SwatcostError, first_line
from swatcost.tracing.frames import Frame


@dataclass
class ForwardError(Exception):
    """The module raised: what it raised, in which module, and what that module was given."""

    error: BaseException
    network: str
    inputs: list[tuple[int, ...]]
    batch_size: int
    place: Frame | None

    def explained(self) -> SwatcostError:
        given = " and ".join(_times(shape[1:]) for shape in self.inputs if shape)
        where = ""
        if self.place is not None:
            seen = " and ".join(_times(shape) for shape in self.place.shapes)  # keyword arguments are not seen
            where = f"{self.place.name} ({type(self.place.module).__name__}){' was given ' * bool(seen)}{seen}: "
        batch = f"traced in a batch of {self.batch_size}"
        return SwatcostError(
            f"{self.network} cannot take an input of {given} ({batch}): {where}{first_line(self.error)}"
        )


def _times(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "scalar"
