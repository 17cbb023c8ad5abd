"""The kernels that benchmarks/sparse_kernels.py compares, each as an operation on operands in the order that it reads.

An operation takes the operand that the layer before has just written and the other one, as in
swatcost.reference.measured_operations. All that a training step would have to do for it in every step is part of it.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from swatcost.network.passes import Pass
from swatcost.reference.batch_last import batch_last, from_batch_last
from swatcost.reference.kernel_products import share_threads
from swatcost.reference.measured_kernels import csr_activations, csr_weights, mask
from swatcost.reference.measured_operations import Convolution, Linear, Operands, dense, operands_of
from swatcost.reference.products import Kept, Threshold
from swatcost.reference.sparse_form import SparseForm
from swatcost.reference.timer import Arguments, Operation, in_turn, written

Measured = Convolution | Linear

DENSE, CSR, SPARSEPROP, OWN = "torch, dense", "torch, CSR", "SparseProp", "swatcost"
BOTH_GRADIENTS = "both gradients"
"""SparseProp computes the gradients of input and weight in one kernel."""


@dataclass(frozen=True)
class Contender:
    """A kernel for a pass, at a density of the sparse operand; 1 for the dense kernel."""

    kernel: str
    in_pass: str
    density: float
    operation: Operation
    arguments: Arguments


def contenders(shape: Measured, in_pass: Pass, densities: Sequence[float]) -> list[Contender]:
    """All that can compute a pass of a layer; the dense kernel first."""
    share_threads()
    operands = operands_of(shape, "fp32", "cpu")
    found = [Contender(DENSE, in_pass, 1.0, dense(shape, in_pass, operands), _arguments(*operands.read_by(in_pass)))]
    found += _own(shape, in_pass, operands, densities)
    if shape.kind == "linear" or (isinstance(shape, Convolution) and shape.kernel == shape.stride == 1):
        found += _csr(shape, in_pass, operands, densities)
    if has_sparseprop() and in_pass != "grad_input":
        found += _sparseprop(shape, in_pass, operands, densities)
    return found


def _arguments(fresh: Tensor, stale: Tensor) -> Arguments:
    turn = in_turn(stale)
    return lambda: (written(fresh), next(turn))


def threshold(density: float) -> float:
    """The magnitude that such a part of an operand, uniform between −1 and 1, exceeds."""
    return 1 - density


def images(x: Tensor) -> Tensor:
    """An operand that lies batch-last; rows of a linear layer as images of one pixel."""
    given = x if x.dim() == 4 else x[:, :, None, None]
    return from_batch_last(batch_last(given).clone(), len(x))


def _own(shape: Measured, in_pass: Pass, operands: Operands, densities: Sequence[float]) -> Iterator[Contender]:
    """The program's own kernels: they find the elements that count in every call."""
    form = SparseForm.of(shape.form, operands.x, operands.weight)
    fresh, stale = operands.read_by(in_pass)
    arguments = _arguments(images(fresh), images(stale) if in_pass == "grad_weight" else stale)

    def operation(least: float) -> Operation:
        if in_pass == "forward":
            return lambda x, weight: form.forward(x, form.packed(Kept(weight, Threshold(least))), None)
        if in_pass == "grad_input":
            return lambda grad, weight: form.grad_input(grad, form.packed(Kept(weight, Threshold(least))))
        return lambda grad, x: form.grad_weight(grad, Kept(x, Threshold(least)))

    for density in densities:
        yield Contender(OWN, in_pass, density, operation(threshold(density)), arguments)


def _csr(shape: Measured, in_pass: Pass, operands: Operands, densities: Sequence[float]) -> Iterator[Contender]:
    """torch's CSR matrices, as `swatcost calibrate` measures them; activations are masked already."""
    for density in densities:
        given = operands
        if in_pass == "grad_weight":
            given = Operands(operands.x * mask(operands.x.shape, density, "cpu"), operands.weight, operands.grad)
        prepare = csr_activations if in_pass == "grad_weight" else csr_weights
        yield Contender(
            CSR, in_pass, density, prepare(shape, in_pass, given, density), _arguments(*given.read_by(in_pass))
        )


def has_sparseprop() -> bool:
    return importlib.util.find_spec("sparseprop") is not None


def _sparseprop(shape: Measured, in_pass: Pass, operands: Operands, densities: Sequence[float]) -> Iterator[Contender]:
    """SparseProp's kernels on weights that are sparse already, and operands in the order that they read.

    The memory that they add to is set to zero as part of the time. Of its two convolutions, over samples and over
    columns, the faster one, as its own sparsify_conv2d_auto chooses.
    """
    forward = in_pass == "forward"
    for density in densities:
        weight = torch.where(operands.weight.abs() > threshold(density), operands.weight, 0)
        if isinstance(shape, Linear):
            ways = [_linear(weight, forward, operands)]
        else:
            ways = [_convolution(shape, weight, forward, operands, over) for over in (False, True)]
        operation, arguments = min((each for each in ways if each is not None), key=lambda way: trial(*way))
        yield Contender(SPARSEPROP, "forward" if forward else BOTH_GRADIENTS, density, operation, arguments)


def trial(operation: Operation, arguments: Arguments) -> float:
    """The faster of two calls [s]."""
    times = []
    for _ in range(2):
        given = arguments()
        began = time.perf_counter()
        operation(*given)
        times.append(time.perf_counter() - began)
    return min(times)


def _linear(weight: Tensor, forward: bool, operands: Operands) -> tuple[Operation, Arguments]:
    from sparseprop import backend

    sparse = weight.to_sparse_csr()
    index = (sparse.crow_indices().int().numpy(), sparse.col_indices().int().numpy())
    values, outputs = sparse.values().numpy(), len(weight)
    x, grad = operands.x.t().contiguous(), operands.grad.t().contiguous()

    def output(x: Tensor, weight: Tensor) -> Tensor:
        found = torch.zeros(outputs, x.shape[1])
        backend.sparse_linear_vectorized_forward(x.numpy(), *index, weight.numpy(), found.numpy())
        return found

    def gradients(grad: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        of_input, of_weight = torch.zeros_like(x), torch.zeros(len(values))
        backend.sparse_linear_vectorized_backward(
            x.numpy(), *index, values, grad.numpy(), of_input.numpy(), of_weight.numpy()
        )
        return of_input, of_weight

    return (output, _arguments(x, sparse.values())) if forward else (gradients, _arguments(grad, x))


def _convolution(
    shape: Convolution, weight: Tensor, forward: bool, operands: Operands, over_columns: bool
) -> tuple[Operation, Arguments] | None:
    """None for a forward pass over columns with a stride, which SparseProp does not have."""
    from sparseprop import backend

    if forward and over_columns and shape.stride > 1:
        return None
    filters, channels, size, _ = weight.shape
    values = torch.zeros(int((weight != 0).sum()))
    index: tuple[Any, ...] = (
        torch.zeros(filters + 1, dtype=torch.int32), torch.zeros((channels + 1) * filters, dtype=torch.int16),
        torch.zeros(len(values), dtype=torch.uint8), torch.zeros(len(values), dtype=torch.uint8),
    )  # fmt: skip
    index = tuple(each.numpy() for each in index)
    backend.sparsify_conv2d(filters, channels, size, weight.numpy(), *index, values.numpy())
    name = f"sparse_conv2d_vectorized_{'forward' if forward else 'backward'}{'_over_on' * over_columns}"
    kernel: Callable[..., object] = getattr(backend, f"{name}_stride_{shape.stride}")
    x, grad = (each if over_columns else each.permute(1, 2, 3, 0).contiguous() for each in (operands.x, operands.grad))
    result, held = torch.empty_like(grad), values.numpy()

    def output(x: Tensor, weight: Tensor) -> Tensor:
        found = torch.zeros_like(result)
        kernel(x.numpy(), *index, weight.numpy(), found.numpy(), size, size // 2)
        return found

    def gradients(grad: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        of_input, of_weight = torch.zeros_like(x), torch.zeros(len(held))
        kernel(x.numpy(), *index, held, grad.numpy(), of_input.numpy(), of_weight.numpy(), size, size // 2)
        return of_input, of_weight

    return (output, _arguments(x, values)) if forward else (gradients, _arguments(grad, x))
