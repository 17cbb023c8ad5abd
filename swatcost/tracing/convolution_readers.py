"""Convolutions by all their names: torch's own, and those of the libraries behind it."""

from collections.abc import Iterable, Sequence
from functools import partial
from math import prod

from torch.nn.modules.conv import _ConvNd

from swatcost.tracing.operands import Call, Operand, Reading, real_products
from swatcost.tracing.product_readers import custom, executed
from swatcost.tracing.reader_registry import arguments, reads

_CONVOLUTIONS = (
    "convolution", "convolution_overrideable", "_convolution", "thnn_conv2d", "slow_conv3d", "_slow_conv2d_forward",
    "slow_conv3d_forward", "slow_conv_dilated2d", "slow_conv_dilated3d", "slow_conv_transpose2d",
    "slow_conv_transpose3d", "_conv_depthwise2d", "conv_depthwise3d", "cudnn_convolution",
    "cudnn_convolution_transpose", "cudnn_convolution_relu", "cudnn_convolution_add_relu", "miopen_convolution",
    "miopen_convolution_transpose", "miopen_depthwise_convolution", "miopen_convolution_relu",
    "miopen_convolution_add_relu", "mkldnn_convolution", "_nnpack_spatial_convolution", "_mps_convolution",
    "_mps_convolution_transpose",
)  # fmt: skip


def _convolution(operation: str, call: Call) -> Iterable[Reading]:
    given = arguments(operation, call)
    input, kernel, bias = call.args[0], given["weight"], given.get("bias")
    spatial = len(kernel.shape) - 2
    transposed = bool(given.get("transposed", "transpose" in operation))
    groups = given.get("groups", input.shape[-spatial - 1] if "_depthwise" in operation and spatial else 1)
    output_shape = call.result.shape
    if len(input.shape) == spatial + 1:  # one image, without a batch
        input, output_shape = input.reshaped(1, *input.shape), (1, *output_shape)
    if not kernel.is_weight and not isinstance(call.frame.module, _ConvNd):
        yield _convolution_of_activations(input, kernel, output_shape, transposed)
        return

    def each(name: str, default: int) -> tuple[int, ...]:
        sizes: Sequence[int] = given.get(name) or [default]
        return tuple(sizes) if len(sizes) == spatial else tuple(sizes) * spatial

    yield Reading(
        kind="transposed_conv" if transposed else "conv",
        input=input,
        weight=kernel,
        others=(bias,),
        output_shape=output_shape,
        stride=each("stride", 1),
        padding=each("padding", 0),
        dilation=each("dilation", 1),
        groups=groups,
    )


for _operation in _CONVOLUTIONS:
    reads(_operation)(partial(_convolution, _operation))


def _convolution_of_activations(
    input: Operand, kernel: Operand, output_shape: tuple[int, ...], transposed: bool
) -> Reading:
    """A convolution whose kernel the network computes: a product of activations, recorded as custom."""
    positions = input.shape if transposed else output_shape  # each kernel element meets each position of each image
    return custom(positions[0] * prod(positions[2:]) * kernel.elements, (input, kernel), output_shape)


@reads("convolution_backward")
def _gradients(call: Call) -> Iterable[Reading]:
    """A convolution's gradients where the network itself computes them, as many as are asked for."""
    grad, input, kernel, _, _, _, _, transposed, _, _, wanted = call.args
    positions = input.shape if transposed else grad.shape
    macs = positions[0] * prod(positions[2:]) * kernel.elements * real_products(input, kernel) * sum(wanted[:2])
    yield executed(macs, input)


@reads("conv_tbc")
def _convolution_of_steps(call: Call) -> Iterable[Reading]:
    """A 1-D convolution of (steps, batch, channels) by a kernel (steps, channels in, channels out)."""
    input, kernel, bias, *padding = call.args
    steps, batch, channels = input.shape
    reach, _, filters = kernel.shape
    yield Reading(
        kind="conv",
        input=input.reshaped(batch, channels, steps),
        weight=kernel.reshaped(filters, channels, reach),
        others=(bias,),
        output_shape=(batch, filters, call.result.shape[0]),
        stride=(1,),
        padding=tuple(padding) or (0,),
        dilation=(1,),
    )
