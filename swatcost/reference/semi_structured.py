"""torch's 2:4 kernels, which GPUs from A100 on have. Written by torch's documentation; not tried on a GPU so far."""

from typing import Any

import torch
from torch import Tensor

from swatcost.network.passes import Pass
from swatcost.reference.measured_kernels import SparseKernel
from swatcost.reference.measured_operations import Linear, Operands, Shape
from swatcost.reference.timer import Operation

_FIRST = (8, 0)  # compute capability of the first GPUs that multiply 2:4 matrices: A100

_SHAPES: tuple[Shape, ...] = (
    # the linears of the MLPs in pytorch/ao #184 and facebookresearch/xformers #975, and smaller ones
    Linear(44160, 1024, 4096), Linear(44160, 4096, 1024), Linear(16384, 2048, 6144), Linear(2048, 5120, 15360),
    Linear(1024, 8192, 24576), Linear(4096, 1024, 1024), Linear(4096, 4096, 4096), Linear(1024, 4096, 4096),
    Linear(16384, 768, 3072), Linear(16384, 3072, 768),
)  # fmt: skip


def semi_structured() -> tuple[SparseKernel, ...]:
    """The 2:4 kernels, none where the GPU or torch does not have them."""
    if not torch.cuda.is_available() or torch.cuda.get_device_capability() < _FIRST:
        return ()
    library = "cuSPARSELt" if torch.backends.cusparselt.is_available() else "CUTLASS"
    return (
        SparseKernel(
            name="torch-2:4", title=f"torch's 2:4 weights through {library}", pattern="2:4", operand="weights",
            precision="fp16", passes=("forward",), prepare=_fixed, shapes=_SHAPES, densities=(0.5,),
            measures="the pattern of non-zeros is fixed for a period; masking and compressing the weights "
            "(to_sparse_semi_structured) in every step are part of the time",
        ),
        SparseKernel(
            name="torch-2:4-training", title=f"torch's 2:4 weights, both ways, through {library}", pattern="2:4",
            operand="weights", precision="fp16", passes=("forward", "grad_input"), prepare=_both_ways, shapes=_SHAPES,
            densities=(0.5,),
            measures="pruning and compressing the weights, for both passes at once (prune_dense_static_sort), is part "
            "of the time of the forward pass",
        ),
    )  # fmt: skip


def _backend() -> Any:
    """torch's class of 2:4 tensors."""
    name = "CUSPARSELT" if torch.backends.cusparselt.is_available() else "CUTLASS"
    return getattr(torch.sparse, f"SparseSemiStructuredTensor{name}")


def two_of_four(size: tuple[int, ...], on: str | torch.device) -> Tensor:
    """A random mask with two non-zeros among every four values of a row."""
    order = torch.rand(*size[:-1], size[-1] // 4, 4, generator=torch.Generator().manual_seed(0)).argsort(-1)
    return (order < 2).view(size).to(on)


def _fixed(shape: Shape, in_pass: Pass, operands: Operands, density: float) -> Operation:
    keep = two_of_four(tuple(operands.weight.shape), operands.weight.device).to(operands.weight.dtype)
    compressed = _backend().from_dense
    return lambda x, weight: torch.nn.functional.linear(x, compressed(weight * keep))


def _both_ways(shape: Shape, in_pass: Pass, operands: Operands, density: float) -> Operation:
    pruned = _backend().prune_dense_static_sort
    if in_pass == "forward":
        return lambda x, weight: torch.nn.functional.linear(x, pruned(weight))
    held = pruned(operands.weight)
    return lambda grad, weight: torch.mm(grad, held)
