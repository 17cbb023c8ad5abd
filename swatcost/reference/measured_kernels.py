"""The time of sparse kernels over that of torch's dense ones, by shape and density; torch's own sparse kernels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from swatcost.common.reading import Amount
from swatcost.devices.operations import PositiveCount, PositiveSeconds, ProductPrecision
from swatcost.network.passes import Pass
from swatcost.reference.measured_operations import Convolution, Linear, Operands, Shape, dense, operands_of
from swatcost.reference.timer import Arguments, Operation, computing_in, in_turn, together, written

DENSITIES = (0.5, 0.2, 0.1, 0.05)

KERNEL_SHAPES: tuple[Shape, ...] = (
    # linear layers by rows and features
    Linear(64, 1024, 1024), Linear(512, 512, 512), Linear(512, 1024, 1024), Linear(2048, 512, 512),
    Linear(788, 768, 768), Linear(256, 1024, 4096), Linear(256, 4096, 1024), Linear(4096, 256, 256),
    # ResNet-50's bottlenecks, 4 images
    Convolution(4, 64, 256, 56, 1), Convolution(4, 256, 64, 56, 1), Convolution(4, 512, 128, 28, 1),
    Convolution(4, 128, 512, 28, 1), Convolution(4, 1024, 256, 14, 1), Convolution(4, 2048, 512, 7, 1),
)  # fmt: skip

BLOCK = 16
"""Rows and columns of BSR's blocks."""

_KEPT = "the pattern of non-zeros is fixed for a period; gathering their values from the dense weights in every step"


@dataclass(frozen=True)
class KernelTiming:
    """The median times [s] of a sparse kernel and of the dense one, which took turns; their spread [-]."""

    seconds: PositiveSeconds
    dense_seconds: PositiveSeconds
    spread: Amount
    repetitions: PositiveCount


def as_given(x: Tensor) -> Tensor:
    """A copy that lies as the tensor does."""
    return x.clone()


@dataclass(frozen=True, kw_only=True)
class SparseKernel:
    """A sparse kernel, described as in a profile; `prepare` makes its operation for operands and a density.

    The operation is a function of the operand that was just written and of the other one, as the dense kernel is; their
    memory is that of torch's layers, or what `laid` makes of it. `by_images` says that its time depends on how many
    images the rows are of.
    """

    name: str
    title: str
    pattern: Literal["unstructured", "2:4", "blocks"]
    operand: Literal["weights", "activations"]
    precision: ProductPrecision = "fp32"
    measures: str
    takes_masked: bool = False
    passes: tuple[Pass, ...]
    prepare: Callable[[Shape, Pass, Operands, float], Operation]
    shapes: tuple[Shape, ...] = KERNEL_SHAPES
    densities: tuple[float, ...] = DENSITIES
    laid: Callable[[Tensor], Tensor] = as_given
    by_images: bool = False

    def runs(self, shape: Shape) -> bool:
        """Whether the kernel's blocks divide a shape."""
        return self.pattern != "blocks" or all(size % BLOCK == 0 for size in shape.sizes[1][:2])


def measure(kernel: SparseKernel, shape: Shape, in_pass: Pass, density: float, on: str) -> KernelTiming:
    """The times of a pass with the sparse kernel and with torch's dense one."""
    operands = operands_of(shape, kernel.precision, on)
    if kernel.operand == "activations" and kernel.takes_masked:
        operands = Operands(operands.x * mask(operands.x.shape, density, on), operands.weight, operands.grad)
    laid = Operands(kernel.laid(operands.x), operands.weight, kernel.laid(operands.grad))

    def of(operands: Operands) -> Arguments:
        fresh, stale = operands.read_by(in_pass)
        turn = in_turn(stale)
        return lambda: (written(fresh), next(turn))

    with computing_in(kernel.precision, on), torch.no_grad():
        sparse = kernel.prepare(shape, in_pass, laid, density)
        pairs = [(sparse, of(laid)), (dense(shape, in_pass, operands), of(operands))]
        own, reference = together(pairs, on)
    return KernelTiming(own.seconds, reference.seconds, max(own.spread, reference.spread), own.repetitions)


def mask(size: tuple[int, ...], density: float, on: str) -> Tensor:
    """Ones at random places, as many as the density says, and zeros."""
    found = torch.zeros(torch.Size(size).numel(), device=on)
    order = torch.randperm(found.numel(), generator=torch.Generator().manual_seed(0))
    found[order[: max(1, round(density * found.numel()))].to(on)] = 1
    return found.view(size)


def _matrix(weight: Tensor) -> Tensor:
    """A weight (out, in), also that of a 1 × 1 convolution."""
    return weight.view(weight.shape[0], -1)


def csr_weights(shape: Shape, in_pass: Pass, operands: Operands, density: float) -> Operation:
    """CSR weights by a dense input or gradient."""
    weight = _matrix(operands.weight)
    places = torch.arange(weight.numel(), device=weight.device).view_as(weight)
    keep = mask(tuple(weight.shape), density, str(weight.device)).bool()
    if in_pass == "grad_input":
        places, keep = places.t(), keep.t()
    pattern, size = keep.float().to_sparse_csr(), keep.shape
    rows, columns, index = pattern.crow_indices(), pattern.col_indices(), places[keep]

    def matrix(weight: Tensor) -> Tensor:
        values = weight.view(-1).index_select(0, index)
        return torch.sparse_csr_tensor(rows, columns, values, size, check_invariants=False)

    return _by_dense(shape, matrix)


def bsr_weights(shape: Shape, in_pass: Pass, operands: Operands, density: float) -> Operation:
    """Weights in blocks by a dense input or gradient."""
    weight = _matrix(operands.weight)
    tall, wide = (size // BLOCK for size in weight.shape)
    keep = mask((tall, wide), density, str(weight.device))
    if in_pass == "grad_input":
        keep = keep.t()
    pattern = keep.to_sparse_csr()
    rows, columns = pattern.crow_indices(), pattern.col_indices()
    blocks_of_row = torch.repeat_interleave(torch.arange(keep.shape[0], device=rows.device), rows.diff())
    size = (keep.shape[0] * BLOCK, keep.shape[1] * BLOCK)

    def matrix(weight: Tensor) -> Tensor:
        blocks = weight.view(tall, BLOCK, wide, BLOCK)
        order = (2, 0, 3, 1) if in_pass == "grad_input" else (0, 2, 1, 3)
        values = blocks.permute(*order)[blocks_of_row, columns]
        return torch.sparse_bsr_tensor(rows, columns, values, size, check_invariants=False)

    return _by_dense(shape, matrix)


def _by_dense(shape: Shape, matrix: Callable[[Tensor], Tensor]) -> Operation:
    """matrix · operand for a linear layer's rows, or image by image; operands and results lie as the dense kernel's."""
    if shape.kind == "linear":
        return lambda fresh, stale: torch.mm(matrix(stale), fresh.t().contiguous()).t().contiguous()

    def convolution(fresh: Tensor, stale: Tensor) -> Tensor:
        sparse, (images, _, height, width) = matrix(stale), fresh.shape
        result = fresh.new_empty(images, sparse.shape[0], height, width)
        for image, into in zip(fresh, result, strict=True):
            torch.mm(sparse, image.flatten(1), out=into.view(sparse.shape[0], -1))
        return result

    return convolution


def csr_activations(shape: Shape, in_pass: Pass, operands: Operands, density: float) -> Operation:
    """grad_weight: CSR activations, made anew, by the dense gradient."""
    if shape.kind == "linear":
        return lambda grad, x: torch.mm(x.t().contiguous().to_sparse_csr(), grad).t().contiguous()

    def convolution(grad: Tensor, x: Tensor) -> Tensor:
        result = grad.new_zeros(x.shape[1], grad.shape[1])
        for image, gradient in zip(x, grad, strict=True):
            result += torch.mm(image.flatten(1).to_sparse_csr(), gradient.flatten(1).t().contiguous())
        return result.t().contiguous()

    return convolution


CSR_WEIGHTS = SparseKernel(
    name="torch-csr", title="torch's CSR matrix by a dense one", pattern="unstructured", operand="weights",
    measures=f"{_KEPT}, and transposing inputs and results of linear layers, are part of the time",
    passes=("forward", "grad_input"), prepare=csr_weights,
)  # fmt: skip

BSR_WEIGHTS = SparseKernel(
    name="torch-bsr", title=f"torch's BSR matrix, blocks of {BLOCK} × {BLOCK}, by a dense one", pattern="blocks",
    operand="weights", passes=("forward", "grad_input"), prepare=bsr_weights,
    measures=f"{_KEPT}, and transposing inputs and results of linear layers, are part of the time",
)  # fmt: skip

CSR_ACTIVATIONS = SparseKernel(
    name="torch-csr-activations", title="torch's CSR activations by the dense gradient", pattern="unstructured",
    operand="activations", passes=("grad_weight",), prepare=csr_activations,
    measures="making CSR of activations that are masked already, in every step, and transposing operands and the "
    "result, which is dense, are part of the time",
    takes_masked=True,
)  # fmt: skip
