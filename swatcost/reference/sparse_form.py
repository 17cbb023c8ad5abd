"""A layer's three products on sparse kernels: from torch's tensors to the arrays that kernels read, and back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from swatcost.kernels import activation_products
from swatcost.kernels.axes import Axis, Dimension
from swatcost.kernels.memory import in_lines
from swatcost.kernels.packing import Packed, Weights, for_inputs, for_outputs
from swatcost.kernels.row_products import gradient_of_rows, multiply_rows
from swatcost.kernels.vectors import LANES
from swatcost.kernels.weight_products import multiply
from swatcost.kernels.whole_kernels import WholeKernels, multiply_kernels
from swatcost.reference.batch_last import batch_last, empty, from_batch_last, padded
from swatcost.reference.layer_kernels import ConvForm, Form, LinearForm
from swatcost.reference.products import Kept

_LARGEST = 2**31  # numbers in an array: kernels keep places in 32 bits


@dataclass(frozen=True)
class SparseForm:
    """A layer as the kernels see it: a convolution over images; a linear layer is 1 × 1, over images of one pixel.

    `weight` is the shape of the weight: filters, channels of a group, height and width of the kernel.
    """

    rows: Dimension
    columns: Dimension
    groups: int
    weight: tuple[int, int, int, int]

    @staticmethod
    def of(form: Form, x: Tensor, weight: Tensor) -> SparseForm:
        """The form of a layer for an input."""
        shape = (*weight.shape[:2], *(1,) * (4 - weight.dim()), *weight.shape[2:])
        if isinstance(form, LinearForm):
            pixel = Dimension(size=1, output=1, kernel=1, stride=1, padding=0, dilation=1)
            return SparseForm(pixel, pixel, 1, shape)
        assert isinstance(form, ConvForm)
        dimensions = [
            Dimension(
                size, (size + 2 * padding - dilation * (taps - 1) - 1) // stride + 1, taps, stride, padding, dilation
            )
            for size, taps, stride, padding, dilation in zip(
                x.shape[2:], weight.shape[2:], form.stride, form.padding, form.dilation, strict=True
            )
        ]
        line = Dimension(size=1, output=1, kernel=1, stride=1, padding=0, dilation=1)
        return SparseForm(dimensions[0] if x.dim() == 4 else line, dimensions[-1], form.groups, shape)

    def results(self, samples: int) -> int:
        """The number of elements in the output of `samples` images."""
        return samples * self.weight[0] * self.rows.output * self.columns.output

    def suits(self, samples: int) -> bool:
        """Whether there is an output, and places in batch-last arrays and in gradients side by side fit in 32 bits."""
        filters, channels, *_ = self.weight
        before = self.rows.size * self.columns.size * self.groups * channels
        # grad_weight adds a pixel's place among all outputs to that of a tap, before it knows which are inside
        reach = -(-self.rows.size // self.rows.stride) * self.columns.output - (
            -self.columns.size // self.columns.stride
        )
        after = max(self.rows.output * self.columns.output, reach) * max(filters, LANES)
        whole = padded(samples) * max(before, after) < _LARGEST and math.prod(self.weight) < _LARGEST
        return whole and min(self.rows.output, self.columns.output) > 0

    def packed(self, weight: Kept) -> Weights | WholeKernels:
        """The weights that count: those above a threshold, or whole kernels W[f, c]."""
        dense = weight.tensor.detach().contiguous().view(self.weight).numpy()
        if weight.threshold is not None and weight.threshold.of_kernels and self.weight[2:] != (1, 1):
            return WholeKernels.above(weight.threshold.value, dense)
        return Weights.above(_least(weight), dense)

    def forward(self, x: Tensor, weights: Weights | WholeKernels, bias: Tensor | None) -> Tensor:
        """Eq. 1: the output of images (samples, channels, height, width) for sparse weights."""
        filters = self.weight[0]
        added = np.zeros(filters, np.float32) if bias is None else bias.detach().expand(filters).contiguous().numpy()
        given = batch_last(x)
        result = empty(self.rows.output, self.columns.output, filters, given.shape[3])
        if isinstance(weights, Weights) and self.is_pixel:
            multiply_rows(given.view(-1).numpy(), weights, given.shape[3], added, result.numpy())
        else:
            self._multiply(given, weights, self.rows.forward, self.columns.forward, added, result)
        return from_batch_last(result, len(x))

    def grad_input(self, grad: Tensor, weights: Weights | WholeKernels) -> Tensor:
        """Eq. 2: the gradient of the images (samples, channels, height, width), from that of the output."""
        given = batch_last(grad)
        channels = self.groups * self.weight[1]
        result = empty(self.rows.size, self.columns.size, channels, given.shape[3])
        if isinstance(weights, Weights) and self.is_pixel:
            gradient_of_rows(given.view(-1).numpy(), weights, given.shape[3], result.numpy())
            return from_batch_last(result, len(grad))
        nothing = np.zeros(channels, np.float32)
        for rows, columns in self._backward:
            self._multiply(given, weights, rows, columns, nothing, result, of_inputs=True)
        return from_batch_last(result, len(grad))

    def _multiply(
        self, given: Tensor, weights: Weights | WholeKernels, rows: Axis, columns: Axis, added: Any, result: Tensor, *,
        of_inputs: bool = False,
    ) -> None:  # fmt: skip
        """Writes the products at those pixels that the axes name."""
        packed = self.in_order(weights, rows, columns, of_inputs)
        operand, channels, samples = given.view(-1).numpy(), given.shape[2], given.shape[3]
        if isinstance(packed, WholeKernels):
            multiply_kernels(operand, channels, samples, packed, rows, columns, added, result.numpy())
        else:
            multiply(operand, channels, samples, packed, rows, columns, added, result.numpy())

    def in_order(
        self, weights: Weights | WholeKernels, rows: Axis, columns: Axis, of_inputs: bool
    ) -> Packed | WholeKernels:
        """The weights in the order in which a product reads them, by inputs or by outputs."""
        if isinstance(weights, WholeKernels):
            if weights.can_multiply(rows, columns):
                return weights.for_inputs(self.groups) if of_inputs else weights.for_outputs(self.groups)
            weights = weights.one_by_one
        return (for_inputs if of_inputs else for_outputs)(weights, rows, columns, self.groups)

    def grad_weight(self, grad: Tensor, x: Kept) -> Tensor:
        """Eq. 3: the gradient of the weight, dense, from that of the output and sparse images x."""
        given, gradient = batch_last(x.tensor), batch_last(grad)
        filters, channels, height, width = self.weight
        of_group, samples = filters // self.groups, given.shape[3]
        if not samples:
            return torch.zeros(self.weight)
        lanes = len(activation_products.lanes_of(of_group)) * LANES
        blocks, threshold = -(-of_group // lanes), _least(x)
        found = empty(filters, channels, height, width)
        for group in range(self.groups):
            own = slice(group * of_group, (group + 1) * of_group)
            copy = in_lines(blocks, self.rows.output * self.columns.output, samples, lanes)
            activation_products.beside(gradient[:, :, own].contiguous().view(-1, of_group, samples).numpy(), copy)
            if self.is_pixel and samples <= activation_products.POSITIONS:
                activation_products.products_of_rows(
                    given.view(-1).numpy(), threshold, copy, samples, found.view(filters, channels).numpy()
                )
                break
            sums = empty(channels, height * width, blocks * lanes).zero_().numpy()
            for rows, columns in self._backward:
                activation_products.add_products(
                    given.view(-1).numpy(), threshold, copy, rows, columns, samples,
                    (group * channels, channels, given.shape[2]), width, self.columns.size, sums,
                )  # fmt: skip
            activation_products.arranged(sums, found[own].numpy())
        return found

    @property
    def is_pixel(self) -> bool:
        """Whether an image is one pixel, and is read, as for linear layers."""
        pixels = self.rows.size * self.columns.size * self.rows.output * self.columns.output
        whole = pixels * self.groups * self.weight[2] * self.weight[3] == 1
        return whole and self.rows.padding == self.columns.padding == 0

    @property
    def _backward(self) -> Iterator[tuple[Axis, Axis]]:
        return product(self.rows.backward, self.columns.backward)


def _least(operand: Kept) -> float:
    """The threshold as kernels take it: -1 keeps every number, zeros included."""
    return -1.0 if operand.threshold is None else operand.threshold.value
