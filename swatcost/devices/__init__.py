"""Device profiles: the cost of work on a machine, as TOML files, and their loader."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from swatcost.common.errors import SwatcostError
from swatcost.common.profiles import Profiles
from swatcost.common.registry import nearest
from swatcost.devices.kernels import Kernel
from swatcost.devices.operations import OperationTimes, Peak, PositiveCount, PositiveSeconds, Rate, StreamTimes
from swatcost.network.fields import Name

Residual = Annotated[float, msgspec.Meta(ge=0, le=1e6)]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A measured time [s] for a number of elements."""

    seconds: PositiveSeconds
    elements: PositiveCount

    @property
    def per_element(self) -> float:
        """Seconds per element."""
        return self.seconds / self.elements


@dataclass(frozen=True, kw_only=True)
class TopkTimes:
    """Times of Top-K selection in weights and in activations, and the algorithm that was timed, if it is known."""

    weights: Measured
    activations: Measured
    algorithm: str | None = None


@dataclass(frozen=True, kw_only=True)
class SelectionTime:
    """The time of finding one threshold, by array size: fixed + elements · per_element [s], fitted to measurements.

    With `growth` "n log n", the second term has the factor log₂(elements).

    `smallest` and `largest` bound the array sizes that were measured [elements], beyond which the fit extrapolates;
    `worst_residual` is the largest |measured / fitted − 1| [-] among them. An algorithm that is not `exact` finds an
    approximate threshold.
    """

    algorithm: Name
    fixed: Annotated[float, msgspec.Meta(ge=0, le=1e9)]
    per_element: PositiveSeconds
    smallest: PositiveCount
    largest: PositiveCount
    worst_residual: Residual
    exact: bool = True
    growth: Literal["linear", "n log n"] = "linear"

    def __post_init__(self) -> None:
        if self.smallest > self.largest:
            raise ValueError(f"{self.algorithm}: smallest {self.smallest} is more than largest {self.largest}")

    def seconds(self, elements: float) -> float:
        """The time [s] for one array."""
        return self.fixed + steps(elements, self.growth) * self.per_element


def steps(elements: float, growth: str) -> float:
    """The factor that an algorithm's time is proportional to: elements, or elements · log₂(elements)."""
    return elements * math.log2(max(2, elements)) if growth == "n log n" else elements


@dataclass(frozen=True, kw_only=True)
class Rates:
    """A machine's throughput: multiply-accumulates per second, and bytes per second to and from its memory.

    `worst_residual` is the largest |measured / fitted − 1| [-] of the dense steps that they were fitted to; without it
    they are upper bounds, such as a data sheet's.
    """

    macs_per_second: Rate
    bytes_per_second: Rate
    worst_residual: Residual | None = None

    def seconds(self, macs: float, bytes: float) -> float:
        """The time [s] if arithmetic and traffic do not overlap: macs / macs_per_second + bytes / bytes_per_second."""
        return macs / self.macs_per_second + bytes / self.bytes_per_second

    def bound(self, macs: float, bytes: float) -> float:
        """The lower bound [s] if arithmetic and traffic overlap fully: the longer of the two (roofline)."""
        return max(macs / self.macs_per_second, bytes / self.bytes_per_second)


@dataclass(frozen=True, kw_only=True)
class DenseStep:
    """A measured dense forward and backward pass of a network.

    `training_macs` are the network's MACs per sample as autograd executes them (convention `exact`): they distinguish
    networks of the same name, and give the throughput.
    """

    network: Name
    batch_size: PositiveCount
    seconds: PositiveSeconds
    training_macs: PositiveCount


@dataclass(frozen=True, kw_only=True)
class Device:
    """A machine's profile.

    A network without a dense step of its own is timed by `operations` and `streams`, measured times of the operations
    that it consists of; without them by `rates`, or by the throughput of the first dense step; and without these by the
    lower bounds that follow from `precisions`, the highest rates of its dense products, and `bytes_per_second` of its
    memory. `kernels` are the sparse kernels that were measured on it.

    `topk` is one Top-K refresh with the algorithm of the profile's source; `selections` are other algorithms that find
    thresholds, and `masking` sets values below them to zero. `peaks` are the best rates that its matrix products and
    its memory reach. `memory_bytes` is its memory capacity, `watts` its maximum board power [W], and
    `link_bytes_per_second` the bandwidth of a link to another of its kind in one direction; None if unknown.
    `measured` is false if the numbers are from a data sheet.

    Raises ValueError if a step cannot be timed, or for two measurements of the same thing.
    """

    name: Name
    title: Name
    source: Name
    topk: TopkTimes
    dense_steps: tuple[DenseStep, ...] = ()
    rates: Rates | None = None
    peaks: Rates | None = None
    selections: tuple[SelectionTime, ...] = ()
    masking: SelectionTime | None = None
    memory_bytes: PositiveCount | None = None
    watts: Annotated[float, msgspec.Meta(gt=0, le=1e9)] | None = None
    measured: bool = True
    precisions: tuple[Peak, ...] = ()
    bytes_per_second: Rate | None = None
    bandwidth_source: Name = ""
    link_bytes_per_second: Rate | None = None
    link_source: Name = ""
    operations: tuple[OperationTimes, ...] = ()
    streams: tuple[StreamTimes, ...] = ()
    kernels: tuple[Kernel, ...] = ()

    def __post_init__(self) -> None:
        sheet = self.precisions and self.bytes_per_second
        if not (self.dense_steps or self.operations or self.rates or sheet):
            raise ValueError(
                "it has neither dense_steps nor operations, rates, or precisions and bytes_per_second, so a step "
                "cannot be timed"
            )
        moving = any(each.kind == "elementwise" for each in self.streams)  # which stand in for any other
        if self.operations and not (moving or self.bytes_per_second or self.peaks or self.rates):
            raise ValueError("it has operations, but neither elementwise streams nor bytes_per_second")
        measured: list[object] = [each.algorithm for each in self.selections]
        measured += [(each.network, each.training_macs, each.batch_size) for each in self.dense_steps]
        measured += [each.name for each in self.precisions]
        measured += [(each.kind, each.in_pass, each.precision) for each in self.operations]
        measured += [(each.kind, each.in_pass) for each in self.streams]
        if len(set(measured)) < len(measured):
            twice = next(each for place, each in enumerate(measured) if each in measured[:place])
            raise ValueError(f"the measurement of {twice!r:.80} stands there twice")

    @property
    def macs_per_second(self) -> float:
        """Executed multiply-accumulates per second in the first measured dense step."""
        step = self.dense_steps[0]
        return step.training_macs * step.batch_size / step.seconds

    @property
    def algorithms(self) -> list[str]:
        """The selection algorithms that there are times for: that of `topk`, if it is known, and `selections`."""
        own = [self.topk.algorithm] if self.topk.algorithm else []
        return list(dict.fromkeys([*own, *(each.algorithm for each in self.selections)]))

    def is_topk(self, algorithm: str | None) -> bool:
        """Whether `topk` has the times of this algorithm; None is the device's own."""
        return algorithm is None or (
            algorithm == self.topk.algorithm and all(each.algorithm != algorithm for each in self.selections)
        )

    def selection(self, algorithm: str) -> SelectionTime:
        """The time of a selection algorithm on this device. Raises SwatcostError if it was not measured."""
        names = [each.algorithm for each in self.selections]
        if algorithm not in names:
            known = (
                nearest(algorithm, self.algorithms) if self.algorithms else "`swatcost calibrate` measures a machine's"
            )
            raise SwatcostError(f"selection {algorithm!r} was not timed on {self.name}: {known}")
        return self.selections[names.index(algorithm)]


def to_toml(device: Device) -> str:
    """The profile as the text of a TOML file that `load_device` reads, without unset fields; one line per point."""
    import tomli_w

    content = msgspec.to_builtins(device)
    text = tomli_w.dumps(
        {name: _stated(value) for name, value in content.items() if _stated(value) not in (None, [], "")}
    )
    return _INNER_ARRAY.sub(lambda array: f"[{' '.join(array[0][1:-1].split()).removesuffix(',')}]", text)


_INNER_ARRAY = re.compile(r"\[\n(?: +[^\[\]\s]+,\n)+ *\]")
"""An array of numbers or words, one per line, as tomli_w writes it."""


def _stated(value: Any) -> Any:
    """A table without entries that are None, which only the last ones of a point may be."""
    if isinstance(value, dict):
        return {name: _stated(each) for name, each in value.items() if each is not None}
    return [_stated(each) for each in value if each is not None] if isinstance(value, list | tuple) else value


_PROFILES = Profiles("device", "device profile", Device, Path(__file__).parent, mark="topk")


def device_names() -> list[str]:
    """The names of the shipped profiles."""
    return _PROFILES.names()


def load_device(name: str | Path) -> Device:
    """Reads a shipped profile by name, or any profile by the path of its .toml file.

    Raises SwatcostError for an unknown name and for a file that is not a profile.
    """
    return _PROFILES.load(name)
