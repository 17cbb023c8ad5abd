"""Sparse kernels as data: what they were measured to take, over the dense kernel of the same device and shape."""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import msgspec

from swatcost.devices.operations import OperationKind, PositiveCount, ProductPrecision
from swatcost.network.fields import Name

Density = Annotated[float, msgspec.Meta(ge=1e-9, le=1)]
Ratio = Annotated[float, msgspec.Meta(ge=1e-6, le=1e6)]
KernelPass = Literal["forward", "grad_input", "grad_weight", "backward", "training"]
"""What was timed as a whole: one pass, both gradients, or all three passes."""

MULTIPLES = {"float16": 16, "bfloat16": 16, "int8": 32, "float8": 32, "float32": 32}
"""Both dimensions of a 2:4 matrix must be multiples of this, by data type.

Source: torch.sparse.semi_structured, the constraints of cuSPARSELt; CUTLASS's for float32 (which runs as TF32).
"""


class KernelPoint(NamedTuple):
    """The time of a sparse kernel over the dense one's [-], on one shape and density.

    `rows` are images · output positions, or rows of a linear layer's input; `inner` is C · R · S per group, or the
    input features; `outer` filters per group, or output features: a layer's, whichever the pass. `density` is the
    fraction of non-zeros of the sparse operand. `images` is given for kernels whose time depends on how many images
    the rows are of.
    """

    in_pass: KernelPass
    rows: PositiveCount
    inner: PositiveCount
    outer: PositiveCount
    density: Density
    time_over_dense: Ratio
    images: PositiveCount | None = None

    @property
    def sizes(self) -> tuple[int, ...]:
        """Rows, inner and outer size, and images if they are given."""
        return (self.rows, self.inner, self.outer, *([] if self.images is None else [self.images]))


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """A measured sparse kernel, and the layers that it runs.

    `pattern` is where zeros may be, `operand` what is sparse, `kinds` the layers' kinds; `window` (R · S) and `stride`
    limit convolutions further. `measures` says what its times contain, `source` who measured them; with
    `takes_masked`, they leave masking or compressing the operand out.

    Raises ValueError without points, for two measurements of one shape and density, and if only some points say how
    many images there are.
    """

    name: Name
    title: Name
    pattern: Literal["unstructured", "2:4", "constant fan-in", "neurons", "blocks"]
    operand: Literal["weights", "activations", "output gradients"]
    precision: ProductPrecision = "fp32"
    kinds: tuple[OperationKind, ...]
    window: PositiveCount | None = None
    stride: PositiveCount | None = None
    measures: Name
    source: Name
    takes_masked: bool = False
    points: tuple[KernelPoint, ...]

    def __post_init__(self) -> None:
        shapes = [(each.in_pass, each.sizes, each.density) for each in self.points]
        if not shapes:
            raise ValueError(f"kernel {self.name} has no measured points")
        if len(set(shapes)) < len(shapes):
            raise ValueError(f"kernel {self.name} has two measurements of one shape and density")
        if len({each.images is None for each in self.points}) > 1:
            raise ValueError(f"kernel {self.name} has images in some points and not in others")
