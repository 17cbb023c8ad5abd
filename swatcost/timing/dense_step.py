"""The time of a dense training step, from what a machine's profile has: measured steps, operations, rates or peaks."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from swatcost.common.errors import SwatcostError
from swatcost.devices import DenseStep, Device
from swatcost.devices.operations import Peak
from swatcost.network import Network
from swatcost.network.passes import PASSES, Pass
from swatcost.timing.rooflines import Roofline, Rooflines
from swatcost.timing.shapes import Shape, shape_of
from swatcost.timing.streams import Streams, kind_of

Basis = Literal["measured", "throughput", "operations", "rates", "bound", "mfu", "simulated"]
"""Where a time comes from: a measured step of the network itself; another network's throughput; measured times of its
operations; two fitted rates; a data sheet, as a lower bound; a utilisation that the user gives; a simulation."""


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """In what a step computes: the precisions of convolutions and of other products, each the first one that the device
    has, bytes per number that a product reads, and by how much memory-bound operations move fewer bytes than traced.
    """

    convolutions: tuple[str, ...] = ("tf32", "fp32")
    products: tuple[str, ...] = ("fp32",)
    product_bytes: int = 4
    movement_scale: float = 1.0

    def of(self, kind: str) -> tuple[str, ...]:
        """The precisions of a kind of product."""
        return self.convolutions if kind in ("conv", "depthwise") else self.products


SINGLE = Numbers()
"""Single precision as torch computes it: convolutions in TF32 where the device has it, other products in fp32."""


@dataclass(frozen=True, kw_only=True)
class Update:
    """What an optimizer does after the backward pass: its name, the parameters' bytes, and all bytes that it moves.

    `parameters` are the bytes of each; without them, it is one parameter.
    """

    optimizer: str
    parameter_bytes: float
    moved_bytes: float
    parameters: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Part:
    """The time of a part of a step [s]: one pass of a layer's product, or all memory-bound operations of a kind.

    `layer` is the place among the network's counted layers, None for other parts. `covered` says that the measurements
    include the size of a product; for other parts, and without measurements, it is true.
    """

    name: str
    kind: str
    in_pass: Pass | Literal["backward", "update"]
    seconds: float
    layer: int | None = None
    covered: bool = True


@dataclass(frozen=True, kw_only=True)
class StepTime:
    """The time of a dense training step [s], what it rests on, and the parts that it consists of, where they are known.

    `reference` is the measured step that it is taken or scaled from. `peak_seconds` is the time that its products take
    at the device's peaks [s], None if these are not known. `numbers` are in what it computes: what was asked for, or
    single precision on a device that has neither times nor peaks of that.
    """

    seconds: float
    basis: Basis
    reference: DenseStep | None = None
    parts: tuple[Part, ...] = ()
    peak_seconds: float | None = None
    numbers: Numbers = SINGLE

    @property
    def same_network(self) -> bool:
        """Whether it was measured on the network itself."""
        return self.basis == "measured"

    @property
    def utilisation(self) -> float | None:
        """Model FLOPs utilisation (MFU): the products' time at the dense peaks over the step's [-]."""
        return None if self.peak_seconds is None or not self.seconds else self.peak_seconds / self.seconds

    def by_kind(self) -> Mapping[str, float]:
        """The time of each kind of part [s], the longest first."""
        found: dict[str, float] = {}
        for each in self.parts:
            found[each.kind] = found.get(each.kind, 0.0) + each.seconds
        return dict(sorted(found.items(), key=lambda kind: -kind[1]))

    def scaled_to(self, seconds: float) -> "StepTime":
        """The same parts in a step that takes so long."""
        factor = seconds / sum(each.seconds for each in self.parts) if self.parts else 1.0
        return replace(
            self, seconds=seconds, parts=tuple(replace(each, seconds=factor * each.seconds) for each in self.parts)
        )


def dense_step(
    network: Network,
    device: Device,
    batch_size: int,
    training_macs: float,
    numbers: Numbers = SINGLE,
    update: Update | None = None,
    mfu: float | None = None,
) -> StepTime:
    """The time of a dense training step of `batch_size` samples.

    `training_macs` are per sample, as autograd executes them. With `mfu`, it is the time at that utilisation of the
    device's peaks. Otherwise it is, in this order, a measured step of the network; the sum of its operations' measured
    times and the optimizer's `update`; what other networks' measured steps give; or a lower bound from a data sheet.

    Raises SwatcostError for an mfu on a device without peaks.
    """
    numbers = numbers if _has(device, numbers) else SINGLE
    work = _Work(network, device, batch_size, numbers, update)
    own = [
        each for each in device.dense_steps if (each.network, each.training_macs) == (network.name, training_macs)
    ] if numbers == SINGLE else []  # fmt: skip
    parts = tuple(work.parts())
    found = StepTime(
        seconds=sum(each.seconds for each in parts), basis="bound", parts=parts, peak_seconds=work.at_peaks,
        numbers=numbers,
    )  # fmt: skip
    passes = replace(found, parts=tuple(each for each in parts if each.in_pass != "update"))  # as dense steps are timed
    if mfu is not None:
        if work.at_peaks is None:
            raise SwatcostError(f"mfu: {device.name} has no peaks in this precision that it could be a share of")
        return replace(found.scaled_to(work.at_peaks / mfu), basis="mfu")
    if own:
        nearest = min(own, key=lambda step: abs(step.batch_size - batch_size))
        seconds = nearest.seconds * batch_size / nearest.batch_size
        return replace(passes.scaled_to(seconds), basis="measured", reference=nearest)
    if device.operations:
        return replace(found, basis="operations")
    if device.dense_steps and device.rates is None and numbers == SINGLE:
        step = device.dense_steps[0]
        seconds = training_macs * batch_size / device.macs_per_second
        return replace(passes.scaled_to(seconds), basis="throughput", reference=step)
    if device.rates is not None and (device.measured or not parts):
        seconds_of = device.rates.seconds if device.measured else device.rates.bound
        seconds = seconds_of(training_macs * batch_size, network.traffic_bytes(batch_size))
        return replace(passes.scaled_to(seconds), basis="rates" if device.measured else "bound")
    return found


def _has(device: Device, numbers: Numbers) -> bool:
    """Whether the device has times of every kind of product in these numbers: measured ones, or peaks."""
    known = {each.precision for each in device.operations} or {each.name for each in device.precisions}
    return all(known & {*numbers.of(kind)} for kind in ("conv", "linear"))


def peak_of(device: Device, numbers: Numbers, kind: str) -> Peak:
    """The device's peak for a kind of product. Raises SwatcostError if it has none in the precision of this step."""
    asked = numbers.of(kind)
    peaks = {each.name: each for each in device.precisions}
    for name in asked:
        if name in peaks:
            return peaks[name]
    raise SwatcostError(
        f"{device.name} has no peak in {' or '.join(asked)}: choose a precision whose products are in "
        f"{' or '.join(peaks)}"
    )


@dataclass(frozen=True)
class _Work:
    """The parts of a dense step on a device."""

    network: Network
    device: Device
    batch_size: int
    numbers: Numbers
    update: Update | None

    def parts(self) -> Iterator[Part]:
        """The parts with their times; none if the device has neither measured operations nor peaks."""
        if not self.device.operations and not self._has_peaks:
            return
        yield from self._products()
        yield from self._movements()
        if self.update is not None:
            yield self._updating(self.update)

    @property
    def _has_peaks(self) -> bool:
        return bool(self.device.precisions) and self.device.bytes_per_second is not None

    @cached_property
    def at_peaks(self) -> float | None:
        """The time of all products at the device's peaks [s]; None if it lacks one of them or has no product."""
        peaks, passes = {each.name for each in self.device.precisions}, list(self._passes())
        if any(peaks.isdisjoint(self.numbers.of(kind)) for kind, *_ in passes):
            return None
        layers = self.network.counted_layers
        once = (  # MFU counts no work that is repeated
            macs / (1 + layers[place].recomputed * (in_pass == "forward")) / self._peak(kind)
            for kind, in_pass, macs, place, _ in passes
        )
        return sum(once) or None

    def _passes(self) -> Iterator[tuple[str, Pass, float, int, Shape | None]]:
        """The kind, pass and MACs of every pass of every layer, the layer's place, and its shape."""
        for place, layer in enumerate(self.network.counted_layers):
            shape = shape_of(layer, self.network, self.batch_size)
            forward, gradients = layer.forward_macs, layer.product_macs()[1] / 2 if shape is None else 0.0
            macs = {
                "forward": forward * (1 + layer.recomputed),
                "grad_input": forward * layer.input_needs_grad if shape else gradients,
                "grad_weight": forward * layer.weight_trains if shape else gradients,
            }
            grows = self.batch_size / self.network.samples_of(layer, self.batch_size)
            for in_pass in PASSES:
                if macs[in_pass]:
                    yield shape.kind if shape else "custom", in_pass, macs[in_pass] * grows, place, shape

    def _peak(self, kind: str) -> float:
        return peak_of(self.device, self.numbers, kind).macs_per_second

    @cached_property
    def _rooflines(self) -> Mapping[str, Rooflines]:
        """The rooflines for convolutions and for other products, each in the first precision that was measured."""
        found: dict[str, Rooflines] = {}
        for kind in ("conv", "linear"):
            measured = {each.precision for each in self.device.operations}
            name = next((each for each in self.numbers.of(kind) if each in measured), None)
            if name is None:
                raise SwatcostError(
                    f"{self.device.name} has no times in {' or '.join(self.numbers.of(kind))}: choose a precision with "
                    f"{', '.join(sorted(measured))}, or measure them with `swatcost calibrate --precision`"
                )
            found[kind] = Rooflines.of(self.device.operations, name, self.numbers.product_bytes)
        return found

    def _products(self) -> Iterator[Part]:
        layers = self.network.counted_layers
        known: dict[tuple[Shape, Pass], tuple[float, bool]] = {}
        for kind, in_pass, macs, place, shape in self._passes():
            if not self.device.operations:
                seconds, covered = self._bound(kind, macs, shape), True
            elif shape is None:
                line = self._line(Shape("linear", 1, 1, 1), "forward")
                seconds, covered = macs * line.fit.coefficients[0], False
            else:
                if (shape, in_pass) not in known:
                    known[shape, in_pass] = self._timed(shape, in_pass)
                seconds, covered = known[shape, in_pass]
                seconds *= macs / shape.macs  # recomputed, or several real products
            yield Part(
                name=layers[place].name, kind=kind, in_pass=in_pass, seconds=seconds, layer=place, covered=covered
            )

    def _timed(self, shape: Shape, in_pass: Pass) -> tuple[float, bool]:
        line = self._line(shape, in_pass)
        return line.at(shape), line.covers(shape)

    def _line(self, shape: Shape, in_pass: Pass) -> Roofline:
        lines = self._rooflines["conv" if shape.kind in ("conv", "depthwise") else "linear"]
        line = lines.of_pass(shape, in_pass)
        if line is None:
            raise SwatcostError(
                f"{self.device.name} has no measured times of {shape.kind} {in_pass}: calibrate it anew"
            )
        return line

    def _bound(self, kind: str, macs: float, shape: Shape | None) -> float:
        """The longer of the times of MACs and of bytes; attention may be fused, so that its scores are not moved."""
        of_macs, bandwidth = macs / self._peak(kind), self.device.bytes_per_second
        if shape is None or kind == "product" or bandwidth is None:
            return of_macs
        of_bytes = shape.elements * self.numbers.product_bytes / bandwidth
        return max(of_macs, of_bytes * macs / shape.macs)

    def _movements(self) -> Iterator[Part]:
        network, streams = self.network, Streams(self.device.streams)
        seconds: dict[tuple[str, Literal["forward", "backward"]], float] = {}
        for each in network.movements:
            kind = kind_of(each.operation)
            size = network.moved_bytes(each, self.batch_size) * self.numbers.movement_scale
            taken = self._moving(streams, kind, each.in_pass, size)
            seconds[kind, each.in_pass] = seconds.get((kind, each.in_pass), 0.0) + each.calls * taken
        if not network.movements:  # an older trace
            moved = network.traffic_bytes(self.batch_size) * self.numbers.movement_scale
            seconds["elementwise", "forward"] = self._moving(streams, "elementwise", "forward", moved)
        for (kind, in_pass), taken in seconds.items():
            yield Part(name=kind, kind=kind, in_pass="forward" if in_pass == "forward" else "backward", seconds=taken)

    def _moving(self, streams: Streams, kind: str, in_pass: str, size: float) -> float:
        """The time of a call that moves `size` bytes [s]."""
        if (found := streams.seconds(kind, in_pass, size)) is not None:
            return found
        bandwidth = self.device.bytes_per_second or (self.device.peaks or self.device.rates).bytes_per_second  # type: ignore[union-attr]
        return size / bandwidth

    def _updating(self, update: Update) -> Part:
        name = f"optimizer {update.optimizer}"
        streams = Streams([each for each in self.device.streams if each.kind == name])
        sizes = Counter(update.parameters or (update.parameter_bytes,))
        if streams.times:
            seconds = sum(count * (streams.seconds(name, "forward", size) or 0.0) for size, count in sizes.items())
        else:
            seconds = self._moving(Streams(self.device.streams), "in place", "forward", update.moved_bytes)
        return Part(name=update.optimizer, kind="optimizer", in_pass="update", seconds=seconds)
