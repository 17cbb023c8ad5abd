"""Properties of torch's operations that decide whether they are counted."""

from functools import cache
from typing import Any

import torch
from torch import Tensor

# Operations that create, move or read numbers without arithmetic. Views are recognised by their schema.
MOVES = {
    "_pack_padded_sequence", "_to_copy", "_unsafe_view", "arange", "as_strided_scatter", "bernoulli", "bernoulli_",
    "cat", "clone", "constant_pad_nd", "copy", "copy_", "detach", "detach_", "embedding", "empty", "empty_like",
    "empty_strided", "eye", "fill", "fill_", "flip", "full", "full_like", "gather", "im2col", "index", "index_put",
    "index_put_", "index_select", "lift_fresh", "masked_fill", "masked_fill_", "new_empty", "new_empty_strided",
    "new_full", "new_ones", "new_zeros", "ones", "ones_like", "rand", "randn", "reflection_pad1d",
    "reflection_pad2d", "reflection_pad3d", "repeat", "repeat_interleave", "replication_pad1d", "replication_pad2d",
    "replication_pad3d", "resize_", "roll", "scalar_tensor", "scatter", "select_scatter", "set_", "slice_scatter",
    "stack", "tril", "triu", "uniform_", "unsafe_chunk", "unsafe_split", "unsafe_split_with_sizes",
    "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "where", "zero_", "zeros", "zeros_like",
}  # fmt: skip

# Operations whose gradient torch computes from their result (derivatives.yaml), and their in-place forms.
SAVE_THEIR_RESULT = {
    name + ending
    for name in ("_log_softmax", "_safe_softmax", "_softmax", "celu", "elu", "exp", "leaky_relu", "reciprocal", "relu",
                 "rsqrt", "selu", "sigmoid", "sqrt", "tanh")
    for ending in ("", "_")
} | {"_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention", "expm1"}  # fmt: skip

# Operations that multiply tensors with each other: if uncounted, they are missing from the totals.
_FAMILIES_OF_PRODUCTS = (
    "_cdist", "_convolution", "_cslt", "_cudnn_rnn", "_efficient_attention", "_euclidean_dist", "_flash_attention",
    "_flex", "_grouped_mm", "_int_mm", "_linalg", "_native_multi_head", "_scaled_dot_product", "_scaled_grouped_mm",
    "_scaled_mm", "_sparse", "_transformer", "_trilinear", "_triton", "_weight_int", "cholesky_", "conv_tbc",
    "convolution", "cudnn_conv", "gru", "linalg_", "linear", "lstm", "miopen_", "mkldnn_", "ormqr", "quantized_",
    "rnn_", "sparse ", "sspaddmm", "triangular_solve",
)  # fmt: skip
_NO_PRODUCTS = {"linalg_vector_norm"}
_OURS = ("aten", "prims", "prim", "profiler", "c10d", "_c10d_functional", "debugprims", "rngprims")


def name_of(func: Any) -> str:
    """An operation's name as listed: prefixed with its library, unless that is torch's own."""
    library, _, name = func._schema.name.partition("::")
    return str(name) if library in _OURS else f"{library}.{name}"


@cache
def is_composite(func: Any) -> bool:
    """Whether torch implements the operation by other operations only, which are then the ones to record."""
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"))


def may_multiply_tensors(operation: str) -> bool:
    """Whether the operation multiplies tensors, or may: operations of other libraries can do anything."""
    return "." in operation or (operation not in _NO_PRODUCTS and operation.startswith(_FAMILIES_OF_PRODUCTS))


def computes(result: Any) -> bool:
    """Whether an operation returned floating-point numbers; counters and indices are not counted as arithmetic."""
    if isinstance(result, Tensor):
        return result.is_floating_point() or result.is_complex()
    return isinstance(result, tuple | list) and any(map(computes, result))


def tensors_of(values: Any) -> list[Tensor]:
    """The tensors among an operation's arguments or results, except sparse ones, which have no storage."""
    if isinstance(values, Tensor):
        return [values] if values.layout == torch.strided else []
    found: list[Tensor] = []
    for each in values if isinstance(values, tuple | list) else ():
        if isinstance(each, Tensor):
            if each.layout == torch.strided:
                found.append(each)
        elif isinstance(each, tuple | list):
            found.extend(tensors_of(each))
    return found
