"""The program's own sparse kernels, as `swatcost calibrate` measures them: with operands as a step has them."""

from itertools import cycle

import torch
from torch import Tensor

from swatcost.network.passes import Pass
from swatcost.reference.batch_last import batch_last, from_batch_last
from swatcost.reference.chosen_kernels import OWN_KERNELS
from swatcost.reference.measured_kernels import SparseKernel
from swatcost.reference.measured_operations import Convolution, Linear, Operands, Shape
from swatcost.reference.products import Kept, Threshold
from swatcost.reference.sparse_form import SparseForm
from swatcost.reference.timer import Operation, copies

WEIGHTS, ACTIVATIONS = OWN_KERNELS

_LINEAR: tuple[Shape, ...] = (
    Linear(64, 512, 512), Linear(64, 2048, 2048), Linear(64, 4096, 4096), Linear(64, 1024, 16),
    Linear(128, 1024, 4096), Linear(256, 1024, 1024), Linear(1024, 512, 512), Linear(1024, 4096, 1024),
    Linear(4096, 512, 2048),
)  # fmt: skip

_THREE_BY_THREE: tuple[Shape, ...] = (
    # sides of CIFAR's images, and of ImageNet's
    Convolution(64, 64, 64, 32, 3), Convolution(64, 64, 128, 16, 3), Convolution(64, 128, 128, 32, 3),
    Convolution(64, 128, 128, 16, 3), Convolution(64, 256, 256, 8, 3), Convolution(64, 512, 512, 8, 3),
    Convolution(64, 512, 512, 4, 3), Convolution(64, 512, 512, 2, 3), Convolution(32, 64, 64, 32, 3),
    Convolution(32, 256, 256, 8, 3), Convolution(16, 64, 64, 56, 3), Convolution(16, 128, 128, 28, 3),
    Convolution(16, 512, 512, 4, 3), Convolution(8, 64, 64, 32, 3), Convolution(8, 256, 256, 14, 3),
)  # fmt: skip

_STRIDED: tuple[Shape, ...] = (
    Convolution(64, 64, 128, 16, 3, 2), Convolution(64, 128, 256, 16, 3, 2), Convolution(64, 256, 512, 4, 3, 2),
    Convolution(32, 128, 256, 8, 3, 2), Convolution(16, 128, 128, 28, 3, 2), Convolution(8, 256, 512, 7, 3, 2),
)  # fmt: skip

_POINTWISE: tuple[Shape, ...] = (
    Convolution(64, 64, 256, 16, 1), Convolution(64, 256, 64, 16, 1), Convolution(64, 512, 512, 4, 1),
    Convolution(16, 256, 64, 56, 1), Convolution(16, 1024, 256, 14, 1), Convolution(8, 512, 2048, 7, 1),
    # shortcuts
    Convolution(64, 64, 128, 16, 1, 2), Convolution(64, 256, 512, 4, 1, 2), Convolution(32, 128, 256, 16, 1, 2),
    Convolution(8, 512, 1024, 14, 1, 2),
)  # fmt: skip

OWN_SHAPES = (*_LINEAR, *_THREE_BY_THREE, *_STRIDED, *_POINTWISE)

_ENTRY = 4 + 4  # bytes of a weight that counts, and of its place


def laid(x: Tensor) -> Tensor:
    """A copy of an input or gradient as it lies in a step: the samples side by side."""
    if x.dim() == 2:
        return x.t().clone(memory_format=torch.contiguous_format).t()
    return from_batch_last(batch_last(x), len(x))


def _threshold(density: float) -> Threshold:
    """What a fraction `density` of numbers uniform in [−1, 1] exceeds."""
    return Threshold(1.0 - density)


def _images(x: Tensor) -> Tensor:
    return x[:, :, None, None] if x.dim() == 2 else x


def sparse_weights(shape: Shape, in_pass: Pass, operands: Operands, density: float) -> Operation:
    """Picks out the weights that count in the forward pass; orders and multiplies them in both."""
    form = SparseForm.of(shape.form, operands.x, operands.weight)
    threshold = _threshold(density)
    bias = torch.zeros_like(operands.weight[:, 0].flatten()) if shape.kind == "linear" else None
    if in_pass == "forward":
        return lambda x, weight: form.forward(_images(x), form.packed(Kept(weight, threshold)), bias)
    count = copies(round(operands.weight.numel() * density * _ENTRY), "cpu")
    turn = cycle([form.packed(Kept(operands.weight, threshold)) for _ in range(count)])
    return lambda grad, weight: form.grad_input(_images(grad), next(turn))


def sparse_activations(shape: Shape, in_pass: Pass, operands: Operands, density: float) -> Operation:
    """grad_weight: picks out the activations that count, and multiplies them."""
    form = SparseForm.of(shape.form, operands.x, operands.weight)
    threshold = _threshold(density)
    return lambda grad, x: form.grad_weight(_images(grad), Kept(_images(x), threshold))


OWN_WEIGHTS = SparseKernel(
    name=WEIGHTS, title="swatcost's products with sparse weights", pattern="unstructured", operand="weights",
    measures="the weights above the threshold are picked out in every step, in the forward pass, and put in order in "
    "each pass; samples lie side by side in memory, before and after, if the batch is a multiple of 16",
    passes=("forward", "grad_input"), prepare=sparse_weights, shapes=OWN_SHAPES, laid=laid, by_images=True,
)  # fmt: skip

OWN_ACTIVATIONS = SparseKernel(
    name=ACTIVATIONS, title="swatcost's products with sparse activations", pattern="unstructured",
    operand="activations", passes=("grad_weight",), prepare=sparse_activations, shapes=OWN_SHAPES, laid=laid,
    measures="the activations above the threshold are picked out in every step, and gradients copied so that filters "
    "lie side by side; samples lie side by side in memory before, if the batch is a multiple of 16; the result is "
    "dense",
    by_images=True,
)  # fmt: skip
