"""aten operations → layers: which argument is the input, which the weight, and what shapes they have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from swatcost.network.layer import Layer
from swatcost.tracing.weights import running_linear

if TYPE_CHECKING:
    from swatcost.tracing.run import Run

# Readers take the positional arguments and the result of one aten operation and give the layers that it executed.
Reader = Callable[["Run", tuple[Any, ...], Any], Iterable[Layer | None]]
READERS: dict[str, Reader] = {}


def _reads(*operations: str) -> Callable[[Reader], Reader]:
    def register(reader: Reader) -> Reader:
        for operation in operations:
            if operation in READERS:
                raise ValueError(f"aten.{operation} has a reader already")
            READERS[operation] = reader
        return reader

    return register


@_reads("convolution", "convolution_overrideable")
def _convolution(run: Run, args: tuple[Any, ...], result: Tensor) -> Iterable[Layer | None]:
    input, weight, bias, stride, padding, dilation, transposed, _, groups = args
    spatial = weight.dim() - 2
    if not run.weights.holds(weight) and not isinstance(run.frames.here.module, _ConvNd):
        yield _convolution_of_activations(run, input, weight, result, transposed)
        return

    def each(sizes: Sequence[int]) -> tuple[int, ...]:
        return tuple(sizes) if len(sizes) == spatial else tuple(sizes) * spatial

    yield run.layer(
        kind="transposed_conv" if transposed else "conv",
        input=input,
        weight=weight,
        others=[bias],
        input_shape=tuple(input.shape),
        weight_shape=tuple(weight.shape),
        output_shape=tuple(result.shape),
        stride=each(stride),
        padding=each(padding),
        dilation=each(dilation),
        groups=groups,
    )


def _convolution_of_activations(
    run: Run, input: Tensor, kernel: Tensor, result: Tensor, transposed: bool
) -> Layer | None:
    """A convolution whose kernel the network computes: a product of activations, in a form of its own."""
    positions = input if transposed else result  # each element of the kernel meets each of them once an image
    macs = positions.shape[0] * prod(positions.shape[2:]) * kernel.numel()
    return run.layer(
        kind="custom",
        input=input,
        weight=None,
        input_shape=tuple(input.shape),
        weight_shape=(),
        output_shape=tuple(result.shape),
        custom_macs=(macs, macs * (input.requires_grad + kernel.requires_grad)),
        trains=(input.requires_grad or kernel.requires_grad, False),
    )


@_reads("mm", "bmm", "mv", "dot", "vdot")
def _mm(run: Run, args: tuple[Any, ...], result: Tensor) -> Iterable[Layer | None]:
    return _matmul(run, args[0], args[1], None)


@_reads("addmm", "_addmm_activation", "baddbmm", "addbmm", "addmv")
def _addmm(run: Run, args: tuple[Any, ...], result: Tensor) -> Iterable[Layer | None]:
    return _matmul(run, args[1], args[2], args[0])


@_reads("addr")
def _addr(run: Run, args: tuple[Any, ...], result: Tensor) -> Iterable[Layer | None]:
    added, left, right = args[:3]
    trains = left.requires_grad, right.requires_grad
    return _matmul(run, left.unsqueeze(1), right.unsqueeze(0), added, trains)


def _matmul(
    run: Run, left: Tensor, right: Tensor, added: Tensor | None, trains: tuple[bool, bool] | None = None
) -> Iterable[Layer | None]:
    """A product of vectors, matrices or batches of them: with a weight, on either side, it is a linear layer.

    Views that are made here know nothing of gradients: `trains` says which operand needs one.
    """
    trains = trains or (left.requires_grad, right.requires_grad)
    left = left.unsqueeze(0) if left.dim() == 1 else left
    right = right.unsqueeze(1) if right.dim() == 1 else right
    linear = running_linear(run.frames)
    if run.weights.holds(right) or (linear is not None and linear.module.in_features == right.shape[-2]):
        yield _linear(run, left, right, added, trains)
    elif run.weights.holds(left):
        yield _linear(run, right.mT, left.mT, added, trains[::-1])
    else:
        yield _product(run, left, right, (*left.shape[:-1], right.shape[-1]), trains)


def _linear(run: Run, input: Tensor, weight: Tensor, bias: Tensor | None, trains: tuple[bool, bool]) -> Layer | None:
    features_in, features_out = weight.shape[-2:]
    rows = tuple(input.shape[:-1])
    groups = run.weights.distinct_matrices(weight)
    linear = running_linear(run.frames)
    if groups > 1:
        rows = rows[1:]
    elif linear:
        shape = next(iter(linear.shapes), ())
        if shape[-1:] == (features_in,) and prod(shape) == input.numel():
            rows = shape[:-1]  # as the module was called, before its rows were flattened
    return run.layer(
        kind="linear",
        input=input,
        weight=weight,
        others=[bias],
        trains=trains,
        input_shape=(*rows, groups * features_in),
        weight_shape=(groups * features_out, features_in),
        output_shape=(*rows, groups * features_out),
        groups=groups,
    )


def _product(
    run: Run, left: Tensor, right: Tensor, output_shape: tuple[int, ...], trains: tuple[bool, bool]
) -> Layer | None:
    return run.layer(
        kind="product",
        input=left,
        weight=right,
        trains=trains,
        input_shape=tuple(left.shape),
        weight_shape=tuple(right.shape),
        output_shape=output_shape,
    )


@_reads(
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_fused_attention_overrideable",
)
def _attention(run: Run, args: tuple[Any, ...], result: Any) -> Iterable[Layer | None]:
    """Q · Kᵀ and P · V; heads of K and V that several heads of Q share are read by each of them."""
    query, key, value = args[:3]
    q, k, v = query.requires_grad, key.requires_grad, value.requires_grad
    yield _product(run, query, key.mT, (*query.shape[:-1], key.shape[-2]), (q, k))
    yield run.layer(
        kind="product",
        input=query,  # the scores live in no tensor; their gradient leads to Q and K
        weight=value,
        trains=(q or k, v),
        input_shape=(*query.shape[:-1], key.shape[-2]),
        weight_shape=tuple(value.shape),
        output_shape=(*query.shape[:-1], value.shape[-1]),
    )


@_reads("mkldnn_rnn_layer")
def _mkldnn_rnn(run: Run, args: tuple[Any, ...], result: tuple[Tensor, ...]) -> Iterable[Layer | None]:
    input, weight_ih, weight_hh, *biases = args[:5]
    return _recurrent(run, input, weight_ih, weight_hh, biases, args[5], result[0])


@_reads("_cudnn_rnn")
def _cudnn_rnn(run: Run, args: tuple[Any, ...], result: tuple[Tensor, ...]) -> Iterable[Layer | None]:
    """Every layer and direction, each with its weights in a row; the first layer reads the input."""
    input, weights, per_direction, _, state = args[:5]
    directions = 1 + args[13]
    for start in range(0, len(weights), per_direction):
        weight_ih, weight_hh, *others = weights[start : start + per_direction]
        read = input if start // per_direction < directions else result[0]
        yield from _recurrent(run, read, weight_ih, weight_hh, others, state, result[0])


def _recurrent(
    run: Run,
    input: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    others: Sequence[Tensor],
    state: Tensor,
    output: Tensor,
) -> Iterable[Layer | None]:
    """One direction of one recurrent layer: input to hidden, and hidden to hidden, whose first step reads the state."""
    rows = prod(input.shape[:-1])  # steps × batch, or the rows of a packed sequence
    first = min(rows, state.shape[-2])

    def linear(input: Tensor, weight: Tensor, rows: int, needs_grad: bool) -> Layer | None:
        return run.layer(
            kind="linear",
            input=input,
            weight=weight,
            others=others,
            input_shape=(rows, weight.shape[1]),
            weight_shape=tuple(weight.shape),
            output_shape=(rows, weight.shape[0]),
            trains=(needs_grad, weight.requires_grad),
        )

    yield linear(input, weight_ih, rows, input.requires_grad)
    yield linear(state, weight_hh, first, state.requires_grad)
    yield linear(
        output, weight_hh, rows - first, weight_hh.requires_grad or weight_ih.requires_grad or input.requires_grad
    )


@_reads(
    "native_batch_norm",
    "_native_batch_norm_legit",
    "_native_batch_norm_legit_no_training",
    "_batch_norm_with_update",
    "_batch_norm_no_update",
    "cudnn_batch_norm",
    "miopen_batch_norm",
)
def _batch_norm(run: Run, args: tuple[Any, ...], result: tuple[Tensor, ...]) -> Iterable[Layer | None]:
    instance = isinstance(run.frames.here.module, nn.modules.instancenorm._InstanceNorm)
    yield _norm(run, "instance_norm" if instance else "batch_norm", args[0], args[1:3])


@_reads("native_group_norm")
def _group_norm(run: Run, args: tuple[Any, ...], result: tuple[Tensor, ...]) -> Iterable[Layer | None]:
    yield _norm(run, "group_norm", args[0], args[1:3])


@_reads("native_layer_norm")
def _layer_norm(run: Run, args: tuple[Any, ...], result: tuple[Tensor, ...]) -> Iterable[Layer | None]:
    yield _norm(run, "layer_norm", args[0], args[2:4])


@_reads("_fused_rms_norm")
def _rms_norm(run: Run, args: tuple[Any, ...], result: tuple[Tensor, ...]) -> Iterable[Layer | None]:
    yield _norm(run, "rms_norm", args[0], args[2:3])


def is_rms_norm(module: nn.Module) -> bool:
    """Whether it is torch's own, which most devices execute in several operations."""
    return getattr(type(module), "forward", None) is nn.RMSNorm.forward


def composed_rms_norm(run: Run, module: nn.Module, args: Any, result: Any) -> Layer | None:
    """What an nn.RMSNorm executed in several operations."""
    inputs = [each for each in args if isinstance(each, Tensor)] if isinstance(args, tuple) else []
    if not inputs or not isinstance(result, Tensor) or inputs[0].shape != result.shape:
        return None
    return _norm(run, "rms_norm", inputs[0], [getattr(module, "weight", None)])


def _norm(run: Run, kind: Any, input: Tensor, scale_and_shift: Sequence[Tensor | None]) -> Layer | None:
    weight, *others = scale_and_shift
    shape = tuple(input.shape)
    return run.layer(
        kind=kind,
        input=input,
        weight=weight,
        others=others,
        input_shape=shape,
        weight_shape=() if weight is None else tuple(weight.shape),
        output_shape=shape,
    )
