"""The attainable time of a sparse step: the fastest that the device's known kernels give, layer by layer and pass by
pass.

A pass whose operands a method makes sparse runs on dense kernels, after masking what a Top-K selects; or on a sparse
kernel that was measured on the device, if it takes the operand, the pattern and the layer. All else takes as long
as in the dense step.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, Literal

from swatcost.common.elementwise import least, where
from swatcost.devices import Device
from swatcost.devices.kernels import MULTIPLES, Kernel, KernelPass
from swatcost.methods import LayerSparsity, Method, Operand, Phase
from swatcost.network import Network
from swatcost.network.layer import Layer
from swatcost.network.passes import PASSES, Pass
from swatcost.sparsity import SparsityPlan
from swatcost.timing.added_work import added_seconds, frozen_seconds, spared_update_seconds
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
_MULTIPLE = MULTIPLES["float16"]
"""What both sizes of a 2:4 weight must be a multiple of, in the precisions of the kernels that are known."""

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
    """The attainable time of a sparse step of `batch_size` samples; `phases` are the plan's.

    An array, if the plan has arrays. Frozen weights have no grad_weight, and added branches their time. Where the
    parts of the dense step are not known, it is the dense step and masking.
    """
    changed = added_seconds(network, plan, dense, phases) - spared_update_seconds(network, plan, dense)
    if not dense.parts or not device.kernels:
        weights, activations = selected(network, plan, batch_size)
        masking = sum(
            masking_seconds(device, size, dense.numbers.product_bytes) * sparse
            for size, sparse in (*weights, *activations)
        )
        seconds = dense.seconds + masking - frozen_seconds(network, plan, dense) + changed
        return AttainableStep(seconds=seconds, masking_known=_knows_masking(device))
    finding = _Finding(network, plan, device, dense, batch_size)
    seconds = sum(phase.share * finding.seconds(phase) for phase in phases) + changed
    choices = () if hasattr(seconds, "shape") else tuple(finding.choices(Phase(1.0)))
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

    def seconds(self, phase: Phase) -> Any:
        """The time of a step [s] in this phase of the run."""
        chosen = list(self.choices(phase))
        layers = {each.layer for each in chosen}
        others = sum(each.seconds for each in self.dense.parts if each.layer not in layers)
        return others + sum(each.seconds for each in chosen)

    def choices(self, phase: Phase) -> Iterator[Choice]:
        """The fastest way to run every layer with a weight."""
        taken: dict[int, dict[Pass, float]] = {}
        for part in self.dense.parts:
            if part.layer is not None and part.in_pass in PASSES:
                taken.setdefault(part.layer, {})[part.in_pass] = part.seconds
        seen: set[str] = set()
        for place, (layer, sparsity) in enumerate(self.plan.by_layer(self.network)):
            if layer.is_weight_layer and place in taken:
                first = layer.weight not in seen
                yield from self._of_layer(place, layer, sparsity.during(phase), taken[place], first)
            seen.add(layer.weight)

    def _of_layer(
        self, place: int, layer: Layer, sparsity: LayerSparsity, taken: dict[Pass, float], first: bool
    ) -> Iterator[Choice]:
        shape = shape_of(layer, self.network, self.batch_size)
        assert shape is not None
        if self.plan.method.weight_gradient == "none":
            taken = {each: seconds for each, seconds in taken.items() if each != "grad_weight"}
        options = [self._on_dense(place, sparsity, each, seconds) for each, seconds in taken.items()]
        by_name = {DENSE: None, MASKED: None, **{each.name: each for each in self.device.kernels}}
        for kernel in self.device.kernels:
            if not self._runs(kernel, layer, shape):
                continue
            for in_pass, covered in _COVERS.items():
                passes = tuple(each for each in covered if each in taken)
                times = KernelTimes.of(kernel, in_pass)
                if times is None or not passes or not self._takes(kernel, in_pass):
                    continue
                zeros = self._zeros(kernel, sparsity, covered)
                sizes = (shape.rows, shape.inner * shape.window, shape.outer, shape.images)
                ratio, dense = times.at(sizes, 1 - zeros), sum(taken[each] for each in passes)
                seconds = where(self._has_pattern(kernel, zeros), ratio.over_dense * dense, float("inf"))
                options.append(
                    Choice(
                        layer=place, passes=passes, kernel=kernel.name, seconds=seconds, dense_seconds=dense,
                        covered=ratio.covered,
                    )
                )  # fmt: skip
        masking = self._masking(layer, sparsity, first)
        ways = [
            _with_masking(way, masking, self.plan.method, [by_name[each.kernel] for each in way])
            for way in _ways(options, tuple(taken))
        ]
        yield from _best(ways)

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

    def _on_dense(self, place: int, sparsity: LayerSparsity, in_pass: Pass, seconds: float) -> Choice:
        """A pass on dense kernels."""
        sparse = any(self._is_sparse(sparsity, operand) for operand in self.plan.method.sparse[in_pass])
        return Choice(
            layer=place, passes=(in_pass,), kernel=MASKED if sparse else DENSE, seconds=seconds, dense_seconds=seconds
        )

    def _zeros(self, kernel: Kernel, sparsity: LayerSparsity, passes: Sequence[Pass]) -> Any:
        """The sparsity of the kernel's operand in these passes: of several sets of weights the least."""
        method, operand = self.plan.method, _OPERANDS[kernel.operand]
        if operand != "weight":
            return sparsity.of(operand)
        return reduce(least, (method.sparsity_in(each, sparsity.weight) for each in passes if each != "grad_weight"))

    def _masking(self, layer: Layer, sparsity: LayerSparsity, first: bool) -> dict[Operand, Any]:
        """The time of masking each operand that a Top-K selects [s]; a weight is masked at its first use."""
        sizes: dict[Operand, float] = {
            "weight": layer.weight_elements * first,
            "activation": self.batch_size * self.network.input_elements(layer, self.batch_size),
        }
        each_bytes = self.dense.numbers.product_bytes
        return {
            operand: where(sparsity.of(operand) > 0, masking_seconds(self.device, size, each_bytes), 0.0)
            for operand, size in sizes.items()
            if size and operand in self.plan.method.selects
        }

    @staticmethod
    def _is_sparse(sparsity: LayerSparsity, operand: Operand) -> bool:
        zeros: Any = sparsity.of(operand)
        return bool((zeros > 0).any()) if hasattr(zeros, "shape") else zeros > 0

    def _runs(self, kernel: Kernel, layer: Layer, shape: Shape) -> bool:
        """Whether the kernel runs the layer, in the precision of the step."""
        return (
            self._in_precision(kernel, shape)
            and (self._as_product(kernel, shape) or (_measured_on(kernel, shape) and layer.kind != "transposed_conv"))
            and layer.groups == 1
            and (kernel.pattern != "2:4" or not (shape.outer % _MULTIPLE or shape.inner * shape.window % _MULTIPLE))
        )

    def _as_product(self, kernel: Kernel, shape: Shape) -> bool:
        """Whether a 1 × 1 convolution is to be read as a linear layer: the kernel was not measured on any of the first.

        A transposed convolution is a product of every input position with the whole kernel, so that it can be, too.
        """
        is_product = shape.kind == "conv" and shape.window == 1 and shape.stride == 1 and "linear" in kernel.kinds
        same = (each for each in self.device.kernels if each.name == kernel.name)
        return is_product and not any(_measured_on(each, shape) for each in same)

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
        return (zeros >= 0.5) & (kept <= 2) & (of == 4)


def _measured_on(kernel: Kernel, shape: Shape) -> bool:
    """Whether the kernel was measured on layers of this kind."""
    by_window, by_stride = kernel.window in (None, shape.window), kernel.stride in (None, shape.stride)
    return shape.kind in kernel.kinds and by_window and by_stride


def _ways(options: Sequence[Choice], passes: tuple[Pass, ...]) -> Iterator[tuple[Choice, ...]]:
    """All combinations of options that run each of these passes once."""
    if not passes:
        yield ()
        return
    for each in options:
        if passes[0] in each.passes and set(each.passes) <= set(passes):
            left = tuple(other for other in passes if other not in each.passes)
            yield from ((each, *rest) for rest in _ways(options, left))


def _with_masking(
    way: tuple[Choice, ...], masking: dict[Operand, Any], method: Method, kernels: Sequence[Kernel | None]
) -> tuple[Choice, ...]:
    """A way with the time of masking each operand, once, in the first pass that reads the masked copy. A set of weights
    of its own in grad_input is masked there once more.

    Dense kernels read it where the method makes the operand sparse, as do kernels of another operand, and kernels whose
    times leave masking out.
    """
    found = list(way)
    for operand, seconds in masking.items():
        own_set = [each for each in method.weight_sets if (operand, each) == ("weight", "grad_input")]
        for readers in ([each for each in PASSES if each not in own_set], own_set):
            for place, (choice, kernel) in enumerate(zip(way, kernels, strict=True)):
                own = kernel is not None and _OPERANDS[kernel.operand] == operand and not kernel.takes_masked
                if not own and any(operand in method.sparse[each] for each in choice.passes if each in readers):
                    found[place] = replace(found[place], seconds=found[place].seconds + seconds)
                    break
    return tuple(found)


def _best(ways: Sequence[tuple[Choice, ...]]) -> Iterator[Choice]:
    """The fastest way; with arrays, one choice that has the smallest time of every element."""
    times = [sum(each.seconds for each in way) for way in ways]
    if not any(hasattr(each, "shape") for each in times):
        yield from ways[times.index(min(times))]
        return
    shortest = times[0]
    for each in times[1:]:
        shortest = least(each, shortest)
    first = ways[0]
    yield Choice(
        layer=first[0].layer, passes=tuple(each for choice in first for each in choice.passes), kernel="",
        seconds=shortest, dense_seconds=sum(each.dense_seconds for each in first),
    )  # fmt: skip
