"""Published measurements of sparse kernels, with and without a device profile, as data; none of it measured here.

A machine that has a profile has its kernels there (`[[kernels]]` in `swatcost/devices/`): those that can be called
today. `sparse_kernels.csv` has the others: machines that the source does not name or that have no profile, and
prototypes that were not released.
"""

from dataclasses import dataclass
from typing import Literal

import msgspec

from swatcost.devices import device_names, load_device
from swatcost.devices.kernels import Density, KernelPass, Ratio
from swatcost.devices.operations import OperationKind, PositiveCount
from swatcost.network.fields import Name
from swatcost.published.cell import lines


@dataclass(frozen=True, kw_only=True)
class KernelTime:
    """The time of a sparse kernel over the dense one's [-], as published.

    `rows`, `inner`, `outer` and `density` are those of `swatcost.devices.kernels.KernelPoint`; `window` is R · S.
    `precision` is empty if the source does not say it, and `measures` says what the time contains.

    Raises ValueError for a 2:4 kernel whose density is not one half.
    """

    device: Name
    kernel: Name
    pattern: Literal["unstructured", "2:4", "constant fan-in", "neurons", "blocks"]
    operand: Literal["weights", "activations", "output gradients"]
    precision: Literal["", "fp32", "tf32", "bf16", "fp16", "fp8"]
    in_pass: KernelPass
    kind: OperationKind
    window: PositiveCount
    stride: PositiveCount
    rows: PositiveCount
    inner: PositiveCount
    outer: PositiveCount
    density: Density
    time_over_dense: Ratio
    measures: Name
    source: Name

    def __post_init__(self) -> None:
        if self.pattern == "2:4" and self.density != 0.5:
            raise ValueError(f"{self.kernel}: 2:4 with density {self.density}")


def without_profile() -> list[KernelTime]:
    """The lines of `sparse_kernels.csv`."""
    return [kernel_time(line) for line in lines("sparse_kernels.csv")]


def of_profiles() -> list[KernelTime]:
    """The points of the kernels of shipped profiles of data sheets; those of other profiles were measured here."""
    return [
        KernelTime(
            device=device.title,
            kernel=kernel.name,
            pattern=kernel.pattern,
            operand=kernel.operand,
            precision=kernel.precision,
            kind=kind,
            window=kernel.window or 1,
            stride=kernel.stride or 1,
            measures=kernel.measures,
            source=kernel.source,
            **{name: value for name, value in point._asdict().items() if name != "images"},
        )
        for device in map(load_device, device_names())
        if not device.measured
        for kernel in device.kernels
        for kind in kernel.kinds
        for point in kernel.points
    ]


def kernel_time(line: dict[str, str]) -> KernelTime:
    """A line of `sparse_kernels.csv`. Raises ValueError for values that no kernel can have."""
    return msgspec.convert({"in_pass": line["pass"]} | line, KernelTime, strict=False)
