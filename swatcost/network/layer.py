"""One layer of a trace, and its dimensions in the paper's symbols."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Annotated, Literal, NamedTuple

import msgspec

from swatcost.network.attention import Attention
from swatcost.network.fields import LARGEST, Name, Natural, Positive

_PART = re.compile(r"\[(\d+):(\d+)\]$")
Shape = tuple[Positive, ...]
LayerKind = Literal[
    "conv", "transposed_conv", "linear", "product", "custom",
    "batch_norm", "instance_norm", "layer_norm", "group_norm", "rms_norm",
]  # fmt: skip
WEIGHT_KINDS = ("conv", "transposed_conv", "linear")
PRODUCT_KINDS = ("product", "custom")


def parameter_of(weight: str) -> tuple[str, slice | None]:
    """The parameter that a weight is, or is a part of, and the part; names of modules may have brackets, too.

    >>> parameter_of("fc.weight"), parameter_of("heads[0].weight[2:4]")
    (('fc.weight', None), ('heads[0].weight', slice(2, 4, None)))
    """
    found = _PART.search(weight)
    return (weight[: found.start()], slice(int(found[1]), int(found[2]))) if found else (weight, None)


class Symbols(NamedTuple):
    """A convolution in the symbols of the paper's A.3.

    C is the number of input channels that one filter reads (per group). For 1-D convolutions S, Y and W are 1; for 3-D
    ones they are the product of the last two dimensions.
    """

    N: int
    F: int
    C: int
    R: int
    S: int
    X: int
    Y: int
    H: int
    W: int


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One execution of a convolution, a linear layer, a product of two activations or a normalisation.

    conv: input_shape (N, C·groups, X, Y), weight_shape (F, C, R, S), output_shape (N, F, H, W), with as many
    spatial dimensions as its kernel. transposed_conv: the same with weight_shape (C·groups, F / groups, R, S).
    linear: (…, features in · groups), (features out · groups, features in) and (…, features out · groups); each group
    is multiplied by a matrix of its own. If it is `routed`, as in a mixture of experts, the groups share the rows, not
    the features: (…, features in) gives (…, features out), and each row meets the matrix of one group.
    product: a batch of matrices (…, M, K) by (…, K, N), which gives (…, M, N); weight_shape is the shape of the right
    operand, and there is no weight. custom: an operation with a user-supplied formula, or a convolution of activations;
    `custom_macs` are its MACs: forward, and of all gradients that are computed. Normalisations keep the input's shape;
    weight_shape is the shape of their scale, () if they have none.

    `weight` identifies the weight: layers with the same `weight` share it. It is a parameter's name, followed by
    [start:end] for a part of the parameter, or, in parentheses, the place where the weight is computed.
    `element_bytes` is the size of an input element. `input_storage` is the index of the input's storage, as in
    SavedTensor. `input_needs_grad` and `weight_trains` say which gradients the backward pass computes: of the input (a
    product's left operand) and of the weight (its right operand). `recomputed` is the number of times that activation
    checkpointing runs the layer again. `per_step` says that its work does not grow with the batch, because none of its
    operands depends on the network's inputs: a spectral norm, a merged adapter, a kernel mixed from parameters.
    `real_products` is the number of products of real numbers in one product of the layer's numbers: 4 if its input and
    weight are complex, 2 if one of them is. `attention` is what an attention kernel that executes the product is told;
    None for other products, and in older traces.

    Raises ValueError if the fields contradict each other.
    """

    name: Name
    kind: LayerKind
    input_shape: Shape
    output_shape: Shape
    weight_shape: Shape
    stride: Shape = ()
    padding: tuple[Natural, ...] = ()
    dilation: Shape = ()
    groups: Positive = 1
    routed: bool = False
    parameters: tuple[Name, ...] = ()
    weight: Name
    element_bytes: Positive
    input_needs_grad: bool
    weight_trains: bool
    input_storage: Natural
    recomputed: Natural = 0
    per_step: bool = False
    custom_macs: tuple[Natural, Natural] = (0, 0)
    real_products: Annotated[int, msgspec.Meta(ge=1, le=4)] = 1
    attention: Attention | None = None

    def __post_init__(self) -> None:
        if max(prod(self.input_shape), prod(self.output_shape), self.weight_elements) > LARGEST:
            raise ValueError(f"{self.name}: its tensors have more than 2^53 elements")
        if self.kind != "custom" and self.custom_macs != (0, 0):
            raise ValueError(f"{self.name}: only a custom layer has custom_macs, not a {self.kind} layer")
        if self.routed and self.kind != "linear":
            raise ValueError(
                f"{self.name}: only the rows of a linear layer are routed, not those of a {self.kind} layer"
            )
        if self.attention is not None and not self.is_product:
            raise ValueError(f"{self.name}: only a product is part of attention, not a {self.kind} layer")
        if self.kind in ("conv", "transposed_conv"):
            self._check_conv()
        elif self.kind == "linear":
            self._check_linear()
        elif self.kind == "product":
            self._check_product()
        elif self.kind != "custom":
            self._check_norm()

    def _check_conv(self) -> None:
        spatial = len(self.weight_shape) - 2
        if spatial < 1 or len(self.input_shape) != spatial + 2 or len(self.output_shape) != spatial + 2:
            raise ValueError(
                f"{self.name}: conv shapes {self.input_shape}, {self.weight_shape} and "
                f"{self.output_shape} differ in their number of dimensions"
            )
        if not len(self.stride) == len(self.padding) == len(self.dilation) == spatial:
            raise ValueError(f"{self.name}: stride, padding and dilation need {spatial} numbers each")
        # A transposed convolution is the input gradient of a convolution from its output to its input.
        transposed = self.kind == "transposed_conv"
        large, small = (self.output_shape, self.input_shape) if transposed else (self.input_shape, self.output_shape)
        (images, channels), (filters, per_group) = large[:2], self.weight_shape[:2]
        if channels != per_group * self.groups or filters % self.groups != 0:
            raise ValueError(
                f"{self.name}: {self.groups} groups do not divide {channels} channels into "
                f"{per_group} and {filters} filters"
            )
        if small[:2] != (images, filters):
            raise ValueError(f"{self.name}: {images} images and {filters} filters do not give {self.output_shape}")
        for size, kernel, stride, padding, dilation, out in zip(
            large[2:], self.weight_shape[2:], self.stride, self.padding, self.dilation, small[2:], strict=True
        ):
            slack = dilation - 1 if transposed else 0  # output_padding is less than the stride or the dilation
            reached = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
            if not reached - slack <= out <= reached:
                raise ValueError(
                    f"{self.name}: size {size} with kernel {kernel}, stride {stride}, padding "
                    f"{padding} and dilation {dilation} does not give {out}"
                )

    def _check_linear(self) -> None:
        if len(self.weight_shape) != 2 or not self.input_shape:
            raise ValueError(f"{self.name}: a linear layer takes an input (…, in) and a weight (out, in)")
        features_out, features_in = self.weight_shape
        side_by_side, of_row = (1, features_out // self.groups) if self.routed else (self.groups, features_out)
        whole = features_out % self.groups == 0 and self.input_shape[-1] == features_in * side_by_side
        if not whole or self.output_shape != (*self.input_shape[:-1], of_row):
            raise ValueError(
                f"{self.name}: weight {self.weight_shape} does not map {self.input_shape} to {self.output_shape}"
            )

    def _check_product(self) -> None:
        if min(len(self.input_shape), len(self.weight_shape), len(self.output_shape)) < 2:
            raise ValueError(f"{self.name}: a product takes matrices")
        *batch, rows, common = self.input_shape
        *other, common_too, columns = self.weight_shape
        # in grouped-query attention several query heads share a key head
        shared = len(other) == len(batch) and all(size % part == 0 for size, part in zip(batch, other, strict=True))
        if common != common_too or not shared or self.output_shape != (*batch, rows, columns):
            raise ValueError(
                f"{self.name}: {self.input_shape} by {self.weight_shape} does not give {self.output_shape}"
            )

    def _check_norm(self) -> None:
        if self.input_shape != self.output_shape or not self.input_shape:
            raise ValueError(f"{self.name}: a normalisation has to keep the shape {self.input_shape}")
        by_channel = self.kind in ("batch_norm", "instance_norm", "group_norm")
        scaled = self.input_shape[1:2] if by_channel else self.input_shape[-len(self.weight_shape) :]
        if self.weight_shape not in ((), scaled):
            raise ValueError(f"{self.name}: a scale of shape {self.weight_shape} does not fit {self.input_shape}")

    @property
    def is_weight_layer(self) -> bool:
        """Whether it is a convolution or a linear layer; only these can be sparse."""
        return self.kind in WEIGHT_KINDS

    @property
    def is_product(self) -> bool:
        """Whether it multiplies activations with each other; such products are counted and stay dense."""
        return self.kind in PRODUCT_KINDS

    @property
    def is_norm(self) -> bool:
        """Whether it is a normalisation; these are not counted."""
        return not self.is_weight_layer and not self.is_product

    @property
    def images(self) -> int:
        """N over the whole traced batch: images, or for a linear layer the rows in all leading dimensions."""
        return prod(self.input_shape[:-1]) if self.kind == "linear" else self.input_shape[0]

    @property
    def weight_elements(self) -> int:
        """Number of weight elements; 0 for a product."""
        return 0 if self.is_product else prod(self.weight_shape)

    @cached_property
    def symbols(self) -> Symbols:
        """A conv or linear layer in the paper's symbols, for the traced batch.

        A linear layer is a 1 × 1 convolution of 1 × 1 images; where rows are routed, F counts one group's features.
        Equations 4 to 6 do not cover transposed convolutions: in every pass each weight is multiplied once per input
        position, so H × W and X × Y are both the input's size.
        """
        if not self.is_weight_layer:
            raise ValueError(f"{self.name}: a {self.kind} has no filters")
        N = self.images
        if self.kind == "linear":
            F = self.weight_shape[0] // (self.groups if self.routed else 1)
            return Symbols(N=N, F=F, C=self.weight_shape[1], R=1, S=1, X=1, Y=1, H=1, W=1)
        F, C, R, *S = self.weight_shape
        X, *Y = self.input_shape[2:]
        H, *W = self.output_shape[2:]
        if self.kind == "transposed_conv":
            F, C = C * self.groups, F // self.groups
            H, W = X, Y
        return Symbols(N=N, F=F, C=C, R=R, S=prod(S), X=X, Y=prod(Y), H=H, W=prod(W))

    @property
    def images_of_group(self) -> float:
        """Images or rows that meet each group's weights: all of them or, if they are routed, their average number."""
        return self.images / self.groups if self.routed else self.images

    @property
    def filters_of_group(self) -> int:
        """Filters or features that each group computes."""
        return self.symbols.F if self.routed else self.symbols.F // self.groups

    @property
    def matrix_shape(self) -> tuple[int, ...]:
        """The shape of its weight, or of one expert's where rows are routed among experts."""
        return (self.symbols.F, self.symbols.C) if self.routed else self.weight_shape

    @property
    def kernels(self) -> int:
        """Number of R × S kernels W[f, c] in a conv layer's weight, or of elements in a linear layer's."""
        return self.weight_shape[0] * self.weight_shape[1]

    @property
    def is_depthwise(self) -> bool:
        """Whether it is a convolution in which every filter reads one channel of several, each another group's."""
        return self.kind == "conv" and self.groups > 1 and self.weight_shape[1] == 1

    @property
    def input_channels(self) -> int:
        """Channels or features that one filter reads."""
        return self.symbols.C

    @property
    def forward_macs(self) -> int:
        """MACs of the forward pass over the traced batch, dense; 0 for a normalisation."""
        if self.is_product:
            return self.product_macs()[0]
        if self.is_norm:
            return 0
        d = self.symbols
        return self.real_products * d.N * d.F * d.C * d.R * d.S * d.H * d.W

    @property
    def training_macs(self) -> int:
        """MACs that a training step executes over the traced batch, dense: forward, recomputed, and of gradients."""
        forward = self.forward_macs
        gradients = (
            self.product_macs()[1] if self.is_product else forward * (self.input_needs_grad + self.weight_trains)
        )
        return forward * (1 + self.recomputed) + gradients

    def product_macs(self) -> tuple[int, int]:
        """MACs of a product over the traced batch: of the forward pass, and of all gradients that are computed.

        (…, M, K) by (…, K, N) takes … · M · N · K; so does the gradient of each operand.
        """
        if self.kind == "custom":
            return self.custom_macs
        macs = self.real_products * prod(self.output_shape) * self.input_shape[-1]
        return macs, macs * (self.input_needs_grad + self.weight_trains)


def first_uses(layers: Iterable[Layer]) -> list[Layer]:
    """The first layer that uses each weight, so that shared weights are counted once."""
    seen: dict[str, Layer] = {}
    for layer in layers:
        seen.setdefault(layer.weight, layer)
    return list(seen.values())
