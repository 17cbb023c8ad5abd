"""Which multiplications of a convolution meet padding instead of data, from shapes alone.

Equations 4 to 6 let every weight meet every position of the output. At an image's border some of those meet padding:
multiplications by zeros that nobody stores. So a weight or an activation that is kept at the border has less work than
one in the middle, and what sparsity saves depends, a little, on where the zeros are.
"""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy

from swatcost.network.layer import Layer

Places = numpy.ndarray[Any, numpy.dtype[numpy.int64]]
"""Numbers by place: a dimension for each spatial dimension of the layer."""


@dataclass(frozen=True)
class Reach:
    """With how many partners each place of an operand meets, of one image and one pair of channels.

    An element of the weight at a place of its kernel meets positions of the input; an element of the input, or of the
    output's gradient, at its position meets places of the kernel. All three add up to the same.
    """

    weight: Places
    input: Places
    output: Places

    @property
    def total(self) -> int:
        """All meetings of an input element, a weight and an output element."""
        return int(self.weight.sum())


def reach(layer: Layer) -> Reach:
    """The meetings of a conv, transposed conv or linear layer's operands.

    An input at x, a weight at r and an output at h meet where  x = h · stride − padding + r · dilation, 0 ≤ x < X.
    In a transposed convolution input and output change places.

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
