"""Properties of torch's operations that decide whether they are counted."""

import re
from collections.abc import Iterable
from functools import cache, partial
from typing import Any, Literal

import torch
from torch import Tensor

# Operations that create, move or read numbers without arithmetic. Views are recognised by their schema.
MOVES = {
    "_cudnn_rnn_flatten_weight",
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
} | {"_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention",
     "_scaled_dot_product_efficient_attention", "expm1"}  # fmt: skip

# Operations of arithmetic whose gradient needs none of their numbers, beside those that move numbers.
_SAVE_NOTHING = {"add", "add_", "mean", "neg", "rsub", "sub", "sub_", "sum"}

# Operations that multiply tensors with each other: if uncounted, they are missing from the totals.
_FAMILIES_OF_PRODUCTS = (
    "_cdist", "_cholesky", "_compute_linear", "_cslt", "_cudnn_rnn", "_euclidean_dist", "_flex", "_linalg", "_lstm",
    "_native_multi_head", "_pdist", "_scaled_dot_product", "_sparse", "_spsolve", "_transformer", "_trilinear",
    "_triton", "_weight_int", "cholesky", "geqrf", "linalg_", "linear", "miopen_", "mkldnn_", "ormqr", "quantized_",
    "to_mkldnn", "triangular_solve",
)  # fmt: skip
_PRODUCTS = re.compile(
    r"(^|_)\w*(mm|mv|matmul|gemm|attention|lstm|gru|rnn)(_|$|\d)|conv(olution)?(_|$|\d)|(^|_)q?linear(_|$)"
)
# Of those, the ones that only move, normalise, reduce or check; and in libraries, changes of layout and of precision.
_NO_PRODUCTS = re.compile(
    r"linalg_(vector_norm|_powsum|cross)|_linalg_check_errors|_sparse_(broadcast|compressed|coo|csr_|log_softmax|mask|"
    r"semi_structured_(apply|tile)|softmax|sum)|_cslt_compress|_cudnn_rnn_flatten_weight|\w+_(reorder|batch_norm|ctc)|"
    r"(mkldnn|quantized)_\w*pool|_thnn_fused|\w*bilinear\w*|\w*trilinear(2d|3d)"
)
_NO_WORK = re.compile(r"(^|_)((de)?quant(ize|ise)?|lookup|permute|transpose|reorder|cast|pack|prepack|unpack)(_|$)")
_LIBRARIES_OF_TORCH = ("quantized", "_quantized", "quantized_decomposed", "mkldnn", "mkl", "onednn", "torchvision")
_PACKED = {torch.float4_e2m1fn_x2} if hasattr(torch, "float4_e2m1fn_x2") else set()
_COMPRESSED = (torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)
_OURS = ("aten", "prims", "prim", "profiler", "c10d", "_c10d_functional", "debugprims", "rngprims")


def name_of(func: Any) -> str:
    """An operation's name as listed: prefixed with its library, unless that is torch's own."""
    library, _, name = func._schema.name.partition("::")
    return str(name) if library in _OURS else f"{library}.{name}"


def saves(operation: str, args: tuple[Any, ...]) -> bool:
    """Whether autograd saves a tensor for an operation on these arguments, or may."""
    if operation in MOVES or operation in _SAVE_NOTHING:
        return False
    return any(each.requires_grad for each in tensors_of(args))


@cache
def is_composite(func: Any) -> bool:
    """Whether torch implements the operation by other operations only, which are then the ones to record.

    Some have kernels of their own on devices that compute, such as the gradient of SiLU.
    """
    composite, *kernels = ("CompositeImplicitAutograd", "CPU", "CUDA")
    has = partial(torch._C._dispatch_has_kernel_for_dispatch_key, func.name())
    return has(composite) and not any(map(has, kernels))


def may_multiply_tensors(operation: str) -> bool:
    """Whether the operation multiplies tensors, or may: operations of unknown libraries can do anything."""
    library, _, name = operation.rpartition(".")
    return multiplies_by_name(operation) or (
        library != "" and library not in _LIBRARIES_OF_TORCH and not _NO_WORK.search(name)
    )


def multiplies_by_name(operation: str) -> bool:
    """Whether the operation's name says that it multiplies tensors with each other."""
    library, _, name = operation.removeprefix("sparse ").rpartition(".")
    if _NO_PRODUCTS.match(name):
        return False
    return bool(_PRODUCTS.search(name)) or (not library and name.startswith(_FAMILIES_OF_PRODUCTS))


def computes(result: Any) -> bool:
    """Whether an operation returned numbers that are no counters or indices, which are not counted as arithmetic."""
    if isinstance(result, Tensor):
        return result.is_floating_point() or result.is_complex() or result.is_quantized
    return isinstance(result, tuple | list) and any(map(computes, result))


def works(operation: str, result: Any) -> bool:
    """Whether an operation without a reader does arithmetic, or multiplies tensors whatever it returns."""
    if operation in MOVES:
        return False
    return computes(result) or (multiplies_by_name(operation) and _has_tensor(result))


def _has_tensor(result: Any) -> bool:
    return isinstance(result, Tensor) or (isinstance(result, tuple | list) and any(map(_has_tensor, result)))


def numbers_of(tensor: Tensor) -> Literal["real", "complex", "packed"]:
    """What a tensor's elements are."""
    if tensor.is_complex():
        return "complex"
    return "packed" if tensor.dtype in _PACKED else "real"


def stored_numbers(tensor: Tensor) -> int | None:
    """How many numbers a sparse tensor stores; None for layouts without values."""
    if tensor.layout == torch.sparse_coo:
        return int(tensor._values().numel())
    return int(tensor.values().numel()) if tensor.layout in _COMPRESSED else None


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


def has_sparse(args: Iterable[Any]) -> bool:
    """Whether one of an operation's arguments is a tensor of another layout than strides."""
    return any(isinstance(each, Tensor) and each.layout != torch.strided for each in args)


def listed_name(operation: str, args: tuple[Any, ...]) -> str:
    """The name under which an operation is listed as uncounted."""
    return f"sparse {operation}" if has_sparse(args) else operation


def values_of(tensor: Tensor) -> list[int] | None:
    """The numbers in a list of whole numbers; None on the meta device."""
    return None if tensor.is_meta else tensor.tolist()
