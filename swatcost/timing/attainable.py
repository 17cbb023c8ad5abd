"""The attainable time of a sparse step: the fastest that the device's known kernels give, layer by layer and pass by
pass.

A pass whose operands a method makes sparse runs on dense kernels, after masking what a Top-K selects; or on a sparse
kernel that was measured on the device, if it takes the operand, the pattern and the layer. All else takes as long
as in the dense step.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from swatcost.common.elementwise import least, where
from swatcost.devices import Device
from swatcost.devices.kernels import Kernel, KernelPass
from swatcost.methods import LayerSparsity, Operand, Phase
from swatcost.network import Network
from swatcost.network.layer import Layer
from swatcost.network.passes import PASSES, Pass
from swatcost.sparsity import SparsityPlan
from swatcost.timing.dense_step import StepTime
from swatcost.timing.kernel_times import KernelTimes
from swatcost.timing.selection import selected
from swatcost.timing.shapes import Shape, shape_of

DENSE, MASKED = "dense", "masked dense"

_OPERANDS: dict[str, Operand] = {"weights": "weight", "activations": "activation", "output gradients": "output"}
_COVERS: dict[KernelPass, tuple[Pass, ...]] = {
    "forward": ("forward",),
    "grad_input": ("grad_input",),
    "grad_weight": ("grad_weight",),
    "backward": ("grad_input", "grad_weight"),
    "training": PASSES,
}
_MASKED_IN: dict[Operand, Pass] = {"weight": "forward", "activation": "grad_weight"}
"""The pass that is charged with masking an operand, unless a kernel takes it sparse; others read the masked copy."""

_HALF = ("fp16", "bf16")
"""Tensor cores run both at one rate, so that a kernel measured in one stands for the other."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What runs some passes of a layer fastest: a kernel's name, "masked dense" or "dense"; its time, and the dense
    kernels' [s]. `covered` says that the kernel's measurements include the shape and the density.
    """

    layer: int
    passes: tuple[Pass, ...]
    kernel: str
    seconds: Any
    dense_seconds: float
    covered: bool = True


@dataclass(frozen=True, kw_only=True)
class AttainableStep:
    """The attainable time of a step without Top-K [s], averaged over a run, and the choices at the target sparsity.

    `masking_known` is false if the device has no time for masking, which is then left out.
    """

    seconds: Any
    choices: tuple[Choice, ...] = ()
    masking_known: bool = True

    @property
    def kernels(self) -> dict[str, tuple[int, bool]]:
        """The sparse kernels that are chosen: in how many passes of layers, and whether all are within their data."""
        found: dict[str, tuple[int, bool]] = {}
        for each in self.choices:
            if each.kernel not in (DENSE, MASKED):
                count, covered = found.get(each.kernel, (0, True))
                found[each.kernel] = count + len(each.passes), covered and each.covered
        return found


def attainable_step(
    network: Network,
    plan: SparsityPlan,
    device: Device,
    dense: StepTime,
    batch_size: int,
    phases: Sequence[Phase],
) -> AttainableStep:
    """The attainable time of a sparse step of `batch_size` samples; `phases` are those of the method's schedule.

    An array, if the plan has arrays. Where the parts of the dense step are not known, it is the dense step and masking.
    """
    if not dense.parts or not device.kernels:
        weights, activations = selected(network, plan, batch_size)
        masking = sum(
            masking_seconds(device, size, dense.numbers.product_bytes) * sparse
            for size, sparse in (*weights, *activations)
        )
        return AttainableStep(seconds=dense.seconds + masking, masking_known=_knows_masking(device))
    finding = _Finding(network, plan, device, dense, batch_size)
    seconds = sum(phase.share * finding.seconds(phase.scale) for phase in phases)
    choices = () if hasattr(seconds, "shape") else tuple(finding.choices(1.0))
    return AttainableStep(seconds=seconds, choices=choices, masking_known=_knows_masking(device))


Obstacle = Literal["pattern", "operand", "precision", "layers"]
"""Why a kernel runs nothing: its pattern of zeros, the operand that it takes, its precision, or the layers' kinds."""


def obstacles(
    network: Network, plan: SparsityPlan, device: Device, dense: StepTime, batch_size: int
) -> dict[str, Obstacle | None]:
    """By kernel of the device, the first obstacle to running any pass of the step with it; None if there is none.

    A kernel may be there more than once, for kinds of layers: one of them without an obstacle is enough.
    """
    finding = _Finding(network, plan, device, dense, batch_size)
    found: dict[str, Obstacle | None] = {}
    for each in device.kernels:
        if found.get(each.name, each) is not None:
            found[each.name] = finding.obstacle(each)
    return found


def masking_seconds(device: Device, elements: float, element_bytes: int = 4) -> float:
    """The time of masking an array [s]: measured, or reading and writing every element; 0 if neither is known."""
    if device.masking is not None:
        return device.masking.seconds(elements)
    return 2 * element_bytes * elements / device.bytes_per_second if device.bytes_per_second else 0.0


def _knows_masking(device: Device) -> bool:
    return device.masking is not None or device.bytes_per_second is not None


@dataclass(frozen=True)
class _Finding:
    """The choices for each layer of a network."""

    network: Network
    plan: SparsityPlan
    device: Device
    dense: StepTime
    batch_size: int

    def seconds(self, scale: float) -> Any:
        """The time of a step [s] at this fraction of the target sparsities."""
        chosen = list(self.choices(scale))
        layers = {each.layer for each in chosen}
        others = sum(each.seconds for each in self.dense.parts if each.layer not in layers)
        return others + sum(each.seconds for each in chosen)

    def choices(self, scale: float) -> Iterator[Choice]:
        """The fastest way to run every layer with a weight."""
        taken: dict[int, dict[Pass, float]] = {}
        for part in self.dense.parts:
            if part.layer is not None and part.in_pass in PASSES:
                taken.setdefault(part.layer, {})[part.in_pass] = part.seconds
        for place, (layer, sparsity) in enumerate(self.plan.by_layer(self.network)):
            if layer.is_weight_layer and place in taken:
                yield from self._of_layer(place, layer, sparsity.scaled(scale), taken[place])

    def _of_layer(
        self, place: int, layer: Layer, sparsity: LayerSparsity, taken: dict[Pass, float]
    ) -> Iterator[Choice]:
        shape = shape_of(layer, self.network, self.batch_size)
        assert shape is not None
        single = {each: self._on_dense(place, layer, sparsity, each, taken[each]) for each in taken}
        whole: list[Choice] = []
        for kernel in self.device.kernels:
            if not self._runs(kernel, layer, shape):
                continue
            for in_pass, passes in _COVERS.items():
                passes = tuple(each for each in passes if each in taken)
                times = KernelTimes.of(kernel, in_pass)
                if times is None or not passes or not self._takes(kernel, in_pass):
                    continue
                zeros = sparsity.of(_OPERANDS[kernel.operand])
                sizes = (shape.rows, shape.inner * shape.window, shape.outer)
                ratio, dense = times.at(sizes, 1 - zeros), sum(taken[each] for each in passes)
                masking = self._masking(layer, sparsity, passes, _OPERANDS[kernel.operand])
                seconds = where(self._has_pattern(kernel, zeros), ratio.over_dense * dense + masking, float("inf"))
                choice = Choice(
                    layer=place, passes=passes, kernel=kernel.name, seconds=seconds, dense_seconds=dense,
                    covered=ratio.covered,
                )  # fmt: skip
                if len(passes) == 1:
                    single[passes[0]] = _faster(single[passes[0]], choice)
                else:
                    whole.append(choice)
        yield from _best(single, whole)

    def obstacle(self, kernel: Kernel) -> Obstacle | None:
        """The first reason for which the kernel runs no pass of any layer; None if it runs some."""
        layers = [
            (layer, sparsity, shape)
            for layer, sparsity in self.plan.by_layer(self.network)
            if layer.is_weight_layer and (shape := shape_of(layer, self.network, self.batch_size)) is not None
        ]
        operand = _OPERANDS[kernel.operand]
        taken = [each for each in layers if self._has_pattern(kernel, each[1].of(operand))]
        if not any(self._takes(kernel, each) for each in {point.in_pass for point in kernel.points}):
            return "operand"
        if not taken:
            return "pattern" if any(sparsity.of(operand) > 0 for _, sparsity, _ in layers) else "operand"
        if any(self._runs(kernel, layer, shape) for layer, _, shape in taken):
            return None
        return "layers" if any(self._in_precision(kernel, shape) for _, _, shape in taken) else "precision"

    def _on_dense(self, place: int, layer: Layer, sparsity: LayerSparsity, in_pass: Pass, seconds: float) -> Choice:
        """A pass on dense kernels, with masking of the operand that it is charged with."""
        masking = self._masking(layer, sparsity, (in_pass,))
        sparse = any(self._is_sparse(sparsity, operand) for operand in self.plan.method.sparse[in_pass])
        return Choice(
            layer=place, passes=(in_pass,), kernel=MASKED if sparse else DENSE, seconds=seconds + masking,
            dense_seconds=seconds,
        )  # fmt: skip

    def _masking(
        self, layer: Layer, sparsity: LayerSparsity, passes: Sequence[Pass], taken: Operand | None = None
    ) -> Any:
        """The time of masking the operands that these passes are charged with [s], but for one that a kernel takes."""
        masking: Any = 0.0
        for operand, charged in _MASKED_IN.items():
            if operand in self.plan.method.selects and charged in passes and operand != taken:
                size: float = layer.weight_elements
                if operand == "activation":
                    size = self.batch_size * self.network.input_elements(layer, self.batch_size)
                seconds = masking_seconds(self.device, size, self.dense.numbers.product_bytes)
                masking = masking + where(sparsity.of(operand) > 0, seconds, 0.0)
        return masking

    @staticmethod
    def _is_sparse(sparsity: LayerSparsity, operand: Operand) -> bool:
        zeros: Any = sparsity.of(operand)
        return bool((zeros > 0).any()) if hasattr(zeros, "shape") else zeros > 0

    def _runs(self, kernel: Kernel, layer: Layer, shape: Shape) -> bool:
        """Whether the kernel runs the layer, in the precision of the step."""
        is_product = shape.kind == "conv" and shape.window == 1 and shape.stride == 1 and "linear" in kernel.kinds
        return (
            self._in_precision(kernel, shape)
            and (shape.kind in kernel.kinds or is_product)
            and kernel.window in (None, shape.window)
            and kernel.stride in (None, shape.stride)
            and layer.groups == 1
        )

    def _in_precision(self, kernel: Kernel, shape: Shape) -> bool:
        """Whether the kernel computes in the precision of the step."""
        precisions = self.dense.numbers.of(shape.kind)
        return kernel.precision in precisions or (kernel.precision in _HALF and not set(_HALF).isdisjoint(precisions))

    def _takes(self, kernel: Kernel, in_pass: KernelPass) -> bool:
        """Whether the method makes the kernel's operand sparse in all passes that read it there."""
        operand = _OPERANDS[kernel.operand]
        reads = {"weight": ("forward", "grad_input"), "activation": ("forward", "grad_weight"),
                 "output": ("grad_input", "grad_weight")}[operand]  # fmt: skip
        passes = [each for each in _COVERS[in_pass] if each in reads]
        return bool(passes) and all(operand in self.plan.method.sparse[each] for each in passes)

    def _has_pattern(self, kernel: Kernel, zeros: Any) -> Any:
        """Whether the operand has zeros in the kernel's pattern; a schedule may not have reached it yet."""
        pattern = self.plan.pattern if kernel.operand == "weights" else None
        if kernel.pattern == "unstructured":
            return zeros > 0
        if pattern is None or kernel.pattern in ("neurons", "blocks"):
            return zeros < 0
        if kernel.pattern == "constant fan-in":
            return zeros > 0
        kept, of = pattern
        return (zeros >= 0.5) & (kept == 2) & (of == 4)


def _faster(one: Choice, other: Choice) -> Choice:
    """The faster of two; with arrays, one that has the smaller time of every element."""
    if not hasattr(one.seconds, "shape") and not hasattr(other.seconds, "shape"):
        return other if other.seconds < one.seconds else one
    return Choice(
        layer=one.layer, passes=one.passes, kernel="", seconds=least(other.seconds, one.seconds),
        dense_seconds=one.dense_seconds,
    )  # fmt: skip


def _best(single: dict[Pass, Choice], whole: Sequence[Choice]) -> Iterator[Choice]:
    """The fastest combination: each pass on its own, or some of them by a kernel that runs several at once."""
    apart = tuple(single.values())
    if not whole:
        yield from apart
        return
    ways = [apart] + [
        (choice, *(each for in_pass, each in single.items() if in_pass not in choice.passes)) for choice in whole
    ]
    times = [sum(each.seconds for each in way) for way in ways]
    if not any(hasattr(each, "shape") for each in times):
        yield from ways[times.index(min(times))]
        return
    shortest = times[0]
    for each in times[1:]:
        shortest = least(each, shortest)
    yield Choice(
        layer=apart[0].layer, passes=tuple(single), kernel="", seconds=shortest,
        dense_seconds=sum(each.dense_seconds for each in apart),
    )  # fmt: skip
