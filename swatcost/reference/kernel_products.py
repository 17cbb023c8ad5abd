"""Algorithm 1's three products, on the program's own sparse kernels where they are chosen, as one autograd function."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from swatcost.kernels import activation_products
from swatcost.kernels.axes import Axis, Dimension
from swatcost.kernels.compiled import use_threads
from swatcost.kernels.packing import Weights, for_inputs, for_outputs
from swatcost.kernels.vectors import LANES
from swatcost.kernels.weight_products import FEW, multiply, multiply_rows
from swatcost.kernels.whole_kernels import are_whole, kernels_for_inputs, kernels_for_outputs, multiply_kernels
from swatcost.network.passes import PASSES, Pass
from swatcost.reference.batch_last import batch_first, batch_last, empty, from_batch_last, padded
from swatcost.reference.layer_kernels import ConvForm, Form, LinearForm
from swatcost.reference.products import Kept, own_tensor
from swatcost.reference.watched_products import watched_product

Way = Literal["dense", "masked", "sparse"]
"""How a product is computed: on whole operands; by torch, on operands with zeros; by a sparse kernel."""

_LARGEST = 2**31  # numbers in an array: kernels keep places in 32 bits


@dataclass(frozen=True)
class Reads:
    """How each of a layer's products is computed, and the thresholds that elements of the sparsified weight and input
    must exceed to count; None if all do. `thinned` sparsifies the output gradient.
    """

    ways: Mapping[Pass, Way]
    weight_threshold: float | None
    input_threshold: float | None
    thinned: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class SparseKernels:
    """The program's own kernels, for those of a layer's passes that are to run on them."""

    passes: frozenset[Pass] = frozenset(PASSES)

    def suit(self, x: Tensor, weight: Tensor, form: Form) -> bool:
        """Whether they compute a layer: a linear one, or a convolution over images or sequences, in fp32 on a CPU.

        Operands that do not fit each other are left to torch, which refuses them; kernels would read beyond them.
        """
        if not x.device.type == weight.device.type == "cpu" or not x.dtype == weight.dtype == torch.float32:
            return False
        if isinstance(form, ConvForm) and (form.transposed or x.dim() != weight.dim() or not 3 <= x.dim() <= 4):
            return False
        channels, groups = (x.shape[1], form.groups) if isinstance(form, ConvForm) else (x.shape[-1], 1)
        if channels != groups * weight.shape[1] or not weight.numel():
            return False
        return SparseForm.of(form, x, weight).suits(len(x) if isinstance(form, ConvForm) else x.numel() // channels)

    def product(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, form: Form, active: Kept, kept: Kept, masked: set[Pass],
        thinned: Callable[[Tensor], Tensor] | None,
    ) -> Tensor:  # fmt: skip
        """The layer's output; in the passes that are `masked`, products read the active weight and the kept input."""
        thresholds = {"forward": active.threshold, "grad_input": active.threshold, "grad_weight": kept.threshold}
        ways: dict[Pass, Way] = {
            each: "dense" if each not in masked
            else "sparse" if each in self.passes and thresholds[each] is not None
            else "masked"
            for each in PASSES
        }  # fmt: skip
        reads = Reads(ways, active.threshold, kept.threshold, thinned)
        return KernelProduct.apply(x, weight, bias, form, active.tensor, kept.tensor, reads)  # type: ignore[no-any-return, no-untyped-call]


@dataclass(frozen=True)
class SparseForm:
    """How sparse kernels multiply a layer's operands: a convolution over images, as which a linear layer is one pixel.

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
        """The elements of the output of so many images."""
        return samples * self.weight[0] * self.rows.output * self.columns.output

    def suits(self, samples: int) -> bool:
        """Whether there is an output, and places in batch-last arrays and in gradients side by side fit in 32 bits."""
        filters, channels, *_ = self.weight
        before = self.rows.size * self.columns.size * self.groups * channels
        after = self.rows.output * self.columns.output * max(filters, LANES)
        whole = padded(samples) * max(before, after) < _LARGEST and math.prod(self.weight) < _LARGEST
        return whole and min(self.rows.output, self.columns.output) > 0

    def packed(self, weight: Kept) -> Weights:
        """The weights that count."""
        threshold = -1.0 if weight.threshold is None else weight.threshold
        return Weights.above(threshold, weight.tensor.detach().contiguous().view(self.weight).numpy())

    def forward(self, x: Tensor, weights: Weights, bias: Tensor | None) -> Tensor:
        """Eq. 1: the output of images (samples, channels, height, width) for sparse weights."""
        given = batch_last(x)
        filters = self.weight[0]
        result = empty(self.rows.output, self.columns.output, filters, given.shape[3])
        added = np.zeros(filters, np.float32) if bias is None else bias.detach().expand(filters).contiguous().numpy()
        rows, columns = self.rows.forward, self.columns.forward
        if are_whole(weights, rows, columns):
            kernels = kernels_for_outputs(weights, self.groups)
            multiply_kernels(*_flat(given), kernels, rows, columns, added, result.numpy())
        else:
            packed = for_outputs(weights, rows, columns, self.groups)
            multiply(*_flat(given), packed, rows, columns, added, result.numpy())
        return from_batch_last(result, len(x))

    def grad_input(self, grad: Tensor, weights: Weights) -> Tensor:
        """Eq. 2: the gradient of the input, for sparse weights."""
        given = batch_last(grad)
        channels = self.groups * self.weight[1]
        result = empty(self.rows.size, self.columns.size, channels, given.shape[3])
        if self.is_pixel and given.shape[3] <= FEW:
            multiply_rows(given.view(-1).numpy(), weights, given.shape[3], result[0, 0].numpy())
            return from_batch_last(result, len(grad))
        nothing = np.zeros(channels, np.float32)
        for rows, columns in self._backward:
            if are_whole(weights, rows, columns):
                kernels = kernels_for_inputs(weights, self.groups)
                multiply_kernels(*_flat(given), kernels, rows, columns, nothing, result.numpy())
            else:
                packed = for_inputs(weights, rows, columns, self.groups)
                multiply(*_flat(given), packed, rows, columns, nothing, result.numpy())
        return from_batch_last(result, len(grad))

    def grad_weight(self, grad: Tensor, x: Kept) -> Tensor:
        """Eq. 3: the gradient of the weight, for a sparse input; dense."""
        given, gradient = batch_last(x.tensor), batch_last(grad)
        filters, channels, height, width = self.weight
        of_group, samples = filters // self.groups, given.shape[3]
        if not samples:
            return torch.zeros(self.weight)
        like = activation_products.lanes_of(of_group)
        lanes = len(like) * LANES
        threshold = -1.0 if x.threshold is None else x.threshold
        blocks = -(-of_group // lanes)
        found = empty(filters, channels, height, width)
        for group in range(self.groups):
            own = slice(group * of_group, (group + 1) * of_group)
            copy = np.empty((blocks, self.rows.output * self.columns.output, samples, lanes), np.float32)
            activation_products.beside(gradient[:, :, own].contiguous().view(-1, of_group, samples).numpy(), copy)
            if self.is_pixel and samples <= activation_products.POSITIONS:
                activation_products.products_of_rows(
                    given.view(-1).numpy(), threshold, copy, samples, found.view(filters, channels).numpy()
                )
                break
            sums = np.zeros((channels, height * width, blocks * lanes), np.float32)
            for rows, columns in self._backward:
                activation_products.add_products(
                    given.view(-1).numpy(), threshold, copy, rows, columns, samples,
                    (group * channels, channels, given.shape[2]), width, self.columns.size, sums,
                )  # fmt: skip
            activation_products.arranged(sums, found[own].numpy())
        return found

    @property
    def is_pixel(self) -> bool:
        """Whether an image is one pixel, as for linear layers."""
        pixels = self.rows.size * self.columns.size * self.rows.output * self.columns.output
        return pixels * self.groups * self.weight[2] * self.weight[3] == 1

    @property
    def _backward(self) -> Iterator[tuple[Axis, Axis]]:
        return product(self.rows.backward, self.columns.backward)


def _flat(given: Tensor) -> tuple[Any, int, int]:
    """A batch-last array's numbers, its channels and its samples."""
    return given.view(-1).numpy(), given.shape[2], given.shape[3]


def _images(x: Tensor, form: Form) -> Tensor:
    """A layer's input or output as images: rows of a linear layer as images of one pixel, sequences as one line."""
    if isinstance(form, LinearForm):
        return x.reshape(-1, x.shape[-1])[:, :, None, None]
    return x if x.dim() == 4 else x.unsqueeze(2)


def _samples(x: Tensor, form: Form) -> int:
    """How many images those are."""
    return x.numel() // max(1, x.shape[-1]) if isinstance(form, LinearForm) else len(x)


def _shaped(images: Tensor, x: Tensor, form: Form) -> Tensor:
    """Images as a layer's output, which has the leading dimensions of x."""
    if isinstance(form, LinearForm):
        return images.view(*x.shape[:-1], images.shape[1])
    return images if x.dim() == 4 else images.squeeze(2)


def _in_order(x: Tensor) -> Tensor:
    """A layer's operand as torch's kernels read it fastest."""
    return batch_first(x) if x.dim() == 4 else x


class KernelProduct(torch.autograd.Function):
    """A layer of Algorithm 1 whose products run as `reads.ways` says; otherwise as `products.SparseProduct`.

    `sparsified` is the weight that its threshold applies to: the weight itself, or one that is masked already; `kept`
    is the same for the input.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, form: Form, sparsified: Tensor, kept: Tensor,
        reads: Reads,
    ) -> Tensor:  # fmt: skip
        use_threads(torch.get_num_threads())
        ctx.save_for_backward(weight, sparsified, kept)
        ctx.form, ctx.reads, ctx.sparse = form, reads, SparseForm.of(form, x, weight)
        active = Kept(sparsified, reads.weight_threshold)
        ways = reads.ways
        with watched_product(ctx.sparse.results(_samples(x, form))):
            ctx.weights = ctx.sparse.packed(active) if "sparse" in (ways["forward"], ways["grad_input"]) else None
            if ways["forward"] == "sparse":
                return own_tensor(_shaped(ctx.sparse.forward(_images(x, form), ctx.weights, bias), x, form))
            found = form.forward(_in_order(x), active.masked if ways["forward"] == "masked" else weight, bias)
            return from_batch_last(batch_last(found), len(x)) if found.dim() == 4 else own_tensor(found)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        use_threads(torch.get_num_threads())
        needs_input, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        grad_bias = _summed(grad, ctx.form) if needs_bias else None
        thin = grad if ctx.reads.thinned is None else ctx.reads.thinned(grad)
        with watched_product(ctx.sparse.results(_samples(grad, ctx.form))):
            found = KernelProduct._gradients(ctx, thin, needs_input, needs_weight)
        return (*found, grad_bias, None, None, None, None)

    @staticmethod
    def _gradients(ctx: Any, thin: Tensor, needs_input: bool, needs_weight: bool) -> list[Tensor | None]:
        form, sparse, reads, ways = ctx.form, ctx.sparse, ctx.reads, ctx.reads.ways
        weight, sparsified, kept = ctx.saved_tensors
        active, x = Kept(sparsified, reads.weight_threshold), Kept(kept, reads.input_threshold)
        found: list[Tensor | None] = [None, None]
        if needs_input and ways["grad_input"] == "sparse":
            found[0] = _shaped(sparse.grad_input(_images(thin, form), ctx.weights), kept, form)
        if needs_weight and ways["grad_weight"] == "sparse":
            images = Kept(_images(kept, form), x.threshold)
            found[1] = sparse.grad_weight(_images(thin, form), images).view(weight.shape)
        wanted = (needs_input and found[0] is None, needs_weight and found[1] is None)
        if any(wanted):
            read = active.masked if ways["grad_input"] == "masked" else weight
            own = x.masked if ways["grad_weight"] == "masked" else kept
            others = form.gradients(_in_order(thin), _in_order(own), read, wanted)
            found = [its if mine is None else mine for mine, its in zip(found, others, strict=True)]
        return found


def _summed(grad: Tensor, form: Form) -> Tensor:
    """The gradient of the bias."""
    channels = grad.dim() - 1 if isinstance(form, LinearForm) else 1
    return grad.sum([each for each in range(grad.dim()) if each != channels])
