"""The shape of a layer's product, by which its time is looked up."""

from math import prod
from typing import NamedTuple

from swatcost.devices.operations import OperationKind, OperationPoint
from swatcost.network import Layer, Network
from swatcost.network.passes import Pass


class Shape(NamedTuple):
    """The product of a layer in a step: the same in all passes.

    `rows`, `inner`, `outer`, `window`, `stride` and `groups` are as in `swatcost.devices.operations.OperationPoint`.
    `inputs` are the elements of the input, where they are not rows · stride² · inner · groups, and `images` those that
    a convolution's rows are of.
    """

    kind: OperationKind
    rows: float
    inner: int
    outer: int
    window: int = 1
    stride: int = 1
    groups: int = 1
    inputs: float = 0.0
    images: float = 1.0

    @property
    def macs(self) -> float:
        """Multiply-accumulates of one pass."""
        return self.rows * self.inner * self.outer * self.window * self.groups

    @property
    def input_elements(self) -> float:
        """Elements of the layer's input, or of a product's left matrices."""
        return self.inputs or self.rows * self.stride**2 * self.inner * self.groups

    @property
    def weight_elements(self) -> int:
        """Elements of the layer's weight, or of a product's right matrices."""
        return self.inner * self.outer * self.window * self.groups

    @property
    def output_elements(self) -> float:
        """Elements of the layer's output."""
        return self.rows * self.outer * self.groups

    @property
    def elements(self) -> float:
        """All that a pass reads and writes."""
        return self.input_elements + self.weight_elements + self.output_elements

    def written(self, in_pass: Pass) -> float:
        """Elements that a pass writes."""
        if in_pass == "forward":
            return self.output_elements
        return self.input_elements if in_pass == "grad_input" else self.weight_elements

    @staticmethod
    def of_point(kind: OperationKind, point: OperationPoint) -> "Shape":
        """The shape of a measurement."""
        return Shape(kind, *point[:-1])


def shape_of(layer: Layer, network: Network, batch_size: int) -> Shape | None:
    """The shape of a layer's product in a step of `batch_size` samples; None for a custom operation."""
    if layer.kind == "custom":
        return None
    grows = batch_size / network.samples_of(layer, batch_size)
    if layer.kind == "product":
        height, inner = layer.input_shape[-2:]
        matrices = max(1, round(prod(layer.output_shape[:-2]) * grows))
        return Shape("product", height, inner, layer.output_shape[-1], groups=matrices)
    each = layer.symbols
    rows, window, filters = layer.images_of_group * each.H * each.W * grows, each.R * each.S, layer.filters_of_group
    if layer.kind == "transposed_conv":  # a product of every input position with the whole kernel
        return Shape("conv", rows, each.C, filters * window, groups=layer.groups, images=each.N * grows)
    if layer.kind == "linear":
        return Shape("linear", rows, each.C, filters, groups=layer.groups)
    kind: OperationKind = "depthwise" if layer.is_depthwise else "conv"
    inputs = prod(layer.input_shape) * grows
    stride, images = max(layer.stride, default=1), each.N * grows
    return Shape(kind, rows, each.C, filters, window, stride, layer.groups, inputs, images)
