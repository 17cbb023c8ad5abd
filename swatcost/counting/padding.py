"""Which multiplications of a convolution involve padding instead of data, from shapes alone.

Equations 4 to 6 multiply every weight at every output position. At an image's border some of these multiplications are
by padding zeros, which are not stored. So a weight or activation at the border causes less work than one in the middle,
and what sparsity saves depends slightly on where the zeros are.
"""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy

from swatcost.network.layer import Layer

Places = numpy.ndarray[Any, numpy.dtype[numpy.int64]]
"""Counts by position: one dimension per spatial dimension of the layer."""


@dataclass(frozen=True)
class Reach:
    """The number of multiplications by data of each operand position, for one image and one pair of channels.

    A kernel position is multiplied by positions of the input; a position of the input, or of the output's gradient,
    by positions of the kernel. All three arrays have the same sum.
    """

    weight: Places
    input: Places
    output: Places

    @property
    def total(self) -> int:
        """The number of multiplications by data."""
        return int(self.weight.sum())


def reach(layer: Layer) -> Reach:
    """The multiplications by data of each operand position in a conv, transposed conv or linear layer.

    Input x is multiplied by weight r for output h where  x = h · stride − padding + r · dilation, 0 ≤ x < X.
    In a transposed convolution input and output are swapped.

    >>> from swatcost.network import Network
    >>> import swatcost
    >>> conv = swatcost.load("cifar_resnet18").weight_layers[0]  # 3 × 3 on 32 × 32, padded by 1
    >>> reach(conv).weight[0].tolist()  # the top row of the kernel misses a row of the image: 31 · 31, 31 · 32, 31 · 31
    [961, 992, 961]
    """
    one: Places = numpy.ones((), dtype=numpy.int64)
    if layer.kind not in ("conv", "transposed_conv"):
        return Reach(one, one, one)
    transposed = layer.kind == "transposed_conv"
    large, small = (layer.output_shape, layer.input_shape) if transposed else (layer.input_shape, layer.output_shape)
    weight = of_large = of_small = one
    sizes = zip(large[2:], small[2:], layer.weight_shape[2:], layer.stride, layer.padding, layer.dilation, strict=True)
    for X, H, R, stride, padding, dilation in sizes:
        x = numpy.arange(H)[:, None] * stride - padding + numpy.arange(R)[None, :] * dilation  # of each (h, r)
        inside = (x >= 0) & (x < X)
        weight = numpy.multiply.outer(weight, inside.sum(0))
        of_small = numpy.multiply.outer(of_small, inside.sum(1))
        of_large = numpy.multiply.outer(of_large, numpy.bincount(x[inside], minlength=X))
    return Reach(weight, of_small, of_large) if transposed else Reach(weight, of_large, of_small)


def inside_fraction(layer: Layer) -> float:
    """The fraction [-] of the multiplications that `exact` counts whose input element is data, not padding."""
    if layer.kind not in ("conv", "transposed_conv"):
        return 1.0
    small = layer.input_shape if layer.kind == "transposed_conv" else layer.output_shape
    return reach(layer).total / (prod(small[2:]) * prod(layer.weight_shape[2:]))
