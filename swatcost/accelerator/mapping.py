"""How a layer's passes map to the machine: which operand is scheduled, in which lines, for how many windows.

Lines follow the order in which Section 4.4's machine reads filters: the last kernel dimension outermost, then the
first, then blocks of channels. A tile's filters share activations, so they belong to one group; other tiles may work
on other groups.
"""

from dataclasses import dataclass
from math import ceil, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from swatcost.accelerator.architecture import Architecture
from swatcost.network.layer import Layer

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Filters:
    """The scheduled operand of one pass over one sample: `filters` rows in each of `groups` groups.

    Each row has `positions` · `channels` weights and is used for `windows` dot products, in `window_blocks` blocks of
    as many as the machine has columns.
    """

    groups: int
    filters: int
    positions: int
    channels: int
    windows: float
    window_blocks: float

    def lines(self, lanes: int) -> int:
        """T = positions · ceil(channels / lanes)."""
        return self.positions * ceil(self.channels / lanes)

    def tiles(self, rows: int) -> int:
        """Tiles needed for the filters of all groups."""
        return self.groups * ceil(self.filters / rows)

    def dense_cycles(self, architecture: Architecture) -> float:
        """ceil(ceil(F / rows) / tiles) · T · ceil(windows / columns), for one group: one cycle per line."""
        rounds = ceil(self.tiles(architecture.rows) / architecture.tiles)
        return rounds * self.lines(architecture.lanes) * self.window_blocks

    @property
    def macs(self) -> float:
        """Multiply-accumulates with no zero skipped."""
        return self.groups * self.filters * self.positions * self.channels * self.windows


def _per_group(layer: Layer) -> tuple[int, int, tuple[int, ...]]:
    """Output channels F and input channels C of one group, and the kernel (R, S), with further dimensions in S."""
    if layer.kind == "linear":
        return layer.filters_of_group, layer.weight_shape[1], (1, 1)
    first, second, *kernel = layer.weight_shape
    R, S = kernel[0], prod(kernel[1:])
    if layer.kind == "transposed_conv":
        return second, first // layer.groups, (R, S)
    return first // layer.groups, second, (R, S)


def _windows(layer: Layer, shape: tuple[int, ...]) -> int:
    return 1 if layer.kind == "linear" else prod(shape[2:])


def is_folded(layer: Layer) -> bool:
    """Whether the layer is a strided convolution of 3 channels, which would leave most lanes idle."""
    strides = set(layer.stride)
    plain = layer.kind == "conv" and len(layer.weight_shape) == 4 and layer.groups == 1
    return plain and layer.weight_shape[1] == 3 and len(strides) == 1 and strides != {1}


def folded(mask: Mask, stride: int) -> Mask:
    """W [F, C, R, S] of a strided convolution as one of stride 1: [F, s² · C, ceil(R / s), ceil(S / s)].

    Channel (j mod s) · s · C + C · (i mod s) + c holds W[·, c, i, j]; places beyond the kernel are zero.
    """
    F, C, R, S = mask.shape
    tall, wide = ceil(R / stride), ceil(S / stride)
    whole = np.zeros((F, C, tall * stride, wide * stride), dtype=bool)
    whole[:, :, :R, :S] = mask
    split = whole.reshape(F, C, tall, stride, wide, stride)
    return split.transpose(0, 5, 3, 1, 2, 4).reshape(F, stride * stride * C, tall, wide)


def grouped(layer: Layer, mask: Mask) -> Mask:
    """A mask of the weight as [groups, F, C, R, S]: output channels, input channels of a group, kernel."""
    F, C, kernel = _per_group(layer)
    if layer.kind == "transposed_conv":
        return mask.reshape(layer.groups, C, F, *kernel).swapaxes(1, 2)
    return mask.reshape(layer.groups, F, C, *kernel)


def forward_lines(layer: Layer, mask: Mask) -> Mask:
    """The forward pass's filters in the order of the walk: [groups · F, S · R, C] from [groups, F, C, R, S].

    A transposed convolution is one with rotated weights over an input with zeros between its values.
    """
    if is_folded(layer):
        mask = folded(mask[0], layer.stride[0])[None]
    if layer.kind == "transposed_conv":
        mask = mask[..., ::-1, ::-1]
    return _in_order(mask)


def grad_input_lines(layer: Layer, mask: Mask) -> Mask:
    """The filters of the gradient's convolution, rotated (A.5): [groups · C, S · R, F] from [groups, F, C, R, S]."""
    turned = mask if layer.kind == "transposed_conv" else mask[..., ::-1, ::-1]
    return _in_order(turned.swapaxes(1, 2))


def _in_order(mask: Mask) -> Mask:
    groups, filters, channels, R, S = mask.shape
    ordered: Any = mask.transpose(0, 1, 4, 3, 2)
    return np.ascontiguousarray(ordered).reshape(groups * filters, S * R, channels)


def forward_filters(layer: Layer, images: float, columns: int) -> Filters:
    """The forward pass over a sample of `images` images: F filters of C · R · S weights, H · W windows."""
    F, C, (R, S) = _per_group(layer)
    if is_folded(layer):
        stride = layer.stride[0]
        C, R, S = C * stride * stride, ceil(R / stride), ceil(S / stride)
    return _over_windows(layer, F, R * S, C, layer.output_shape, images, columns)


def grad_input_filters(layer: Layer, images: float, columns: int) -> Filters:
    """The gradient of the input as a standard convolution (A.5): C filters of F · R · S weights, X · Y windows."""
    F, C, (R, S) = _per_group(layer)
    return _over_windows(layer, C, R * S, F, layer.input_shape, images, columns)


def _over_windows(
    layer: Layer, filters: int, positions: int, channels: int, shape: tuple[int, ...], images: float, columns: int
) -> Filters:
    """One window per position in an image of this shape, or per row (token) of a linear layer's sample."""
    windows, blocks = images, float(ceil(images / columns))
    if layer.kind != "linear":
        windows, blocks = images * prod(shape[2:]), images * ceil(prod(shape[2:]) / columns)
    return Filters(
        groups=layer.groups,
        filters=filters,
        positions=positions,
        channels=channels,
        windows=windows,
        window_blocks=blocks,
    )


def grad_weight_filters(layer: Layer, images: float, columns: int, batch_size: int, operand: str) -> Filters:
    """The gradient of the weight over a batch, per sample: dot products over images and positions.

    The scheduled rows are input activations, one row for each of the C · R · S weights of a filter, in lines of
    successive positions of the whole batch; the windows are the F output gradients of those positions. If `operand` is
    "output", the F rows of output gradients are scheduled, with C · R · S windows.
    """
    F, C, (R, S) = _per_group(layer)
    unfolded, plain = C * R * S, F
    positions = _windows(layer, layer.output_shape)
    if layer.kind == "transposed_conv":  # here the output is unfolded over the kernel
        unfolded, plain, positions = C, F * R * S, _windows(layer, layer.input_shape)
    rows, windows = (plain, unfolded) if operand == "output" else (unfolded, plain)
    return Filters(
        groups=layer.groups, filters=rows, positions=1, channels=max(1, round(batch_size * images * positions)),
        windows=windows / batch_size, window_blocks=ceil(windows / columns) / batch_size,
    )  # fmt: skip


def product_filters(layer: Layer, batch_size: int, columns: int) -> tuple[Filters, Filters, Filters]:
    """A product (…, M, K) · (…, K, N) of activations and the gradients of its right and left operands, all dense."""
    M, K = layer.input_shape[-2:]
    N = layer.output_shape[-1]
    images = prod(layer.output_shape[:-2]) / batch_size
    shapes = ((N, K, M), (N, M, K), (K, N, M))  # filters, reduced over, windows
    return tuple(  # type: ignore[return-value]
        Filters(
            groups=1, filters=filters, positions=1, channels=over,
            windows=images * windows, window_blocks=images * ceil(windows / columns),
        )
        for filters, over, windows in shapes
    )  # fmt: skip
