"""One layer of a trace, and its dimensions in the paper's symbols."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Annotated, Literal, NamedTuple

import msgspec

LARGEST = 2**53  # beyond it floats no longer hold every integer
Natural = Annotated[int, msgspec.Meta(ge=0, le=LARGEST)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=LARGEST)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x1f\x7f]*$")]  # one line, nothing that steers a terminal
Shape = tuple[Positive, ...]
LayerKind = Literal["conv", "linear", "batch_norm"]


class Symbols(NamedTuple):
    """A convolution in the symbols of the paper's A.3, for N images.

    C is the number of input channels that one filter reads (per group). In one dimension S, Y and W are 1;
    in three, they hold the product of the last two.
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
    """One execution of a convolution, a linear layer or a batch normalisation.

    A conv has input_shape (N, C·groups, X, Y), weight_shape (F, C, R, S) and output_shape (N, F, H, W), with
    as many spatial dimensions as its kernel; a linear layer has (…, features in), (out, in) and
    (…, features out); a batch normalisation has weight_shape (channels,), or () without scale and shift.

    `weight` names the weight: two layers with the same name share it. It is a parameter's name, with [start:end]
    behind it if only that part is meant, or says in parentheses where the weight is computed. `element_bytes` is
    the size of one of its numbers. `input_storage` is the storage that its input lives in, as in SavedTensor.

    Raises ValueError when the numbers contradict each other.
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
    parameters: tuple[str, ...] = ()
    weight: str
    element_bytes: Positive
    input_needs_grad: bool
    weight_trains: bool
    input_storage: Natural

    def __post_init__(self) -> None:
        if max(prod(self.input_shape), prod(self.output_shape), self.weight_elements) > LARGEST:
            raise ValueError(f"{self.name}: its tensors have more elements than can be counted")
        check = {"conv": self._check_conv, "linear": self._check_linear, "batch_norm": self._check_batch_norm}
        check[self.kind]()

    def _check_conv(self) -> None:
        spatial = len(self.weight_shape) - 2
        if spatial < 1 or len(self.input_shape) != spatial + 2 or len(self.output_shape) != spatial + 2:
            raise ValueError(
                f"{self.name}: conv shapes {self.input_shape}, {self.weight_shape} and "
                f"{self.output_shape} differ in dimensions"
            )
        if not len(self.stride) == len(self.padding) == len(self.dilation) == spatial:
            raise ValueError(f"{self.name}: stride, padding and dilation need {spatial} numbers each")
        (images, channels), (filters, per_group) = self.input_shape[:2], self.weight_shape[:2]
        if channels != per_group * self.groups or filters % self.groups != 0:
            raise ValueError(
                f"{self.name}: {self.groups} groups do not divide {channels} channels into "
                f"{per_group} and {filters} filters"
            )
        if self.output_shape[:2] != (images, filters):
            raise ValueError(f"{self.name}: {images} images and {filters} filters give no {self.output_shape}")
        for size, kernel, stride, padding, dilation, out in zip(
            self.input_shape[2:],
            self.weight_shape[2:],
            self.stride,
            self.padding,
            self.dilation,
            self.output_shape[2:],
            strict=True,
        ):
            if (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1 != out:
                raise ValueError(
                    f"{self.name}: size {size} with kernel {kernel}, stride {stride}, padding "
                    f"{padding} and dilation {dilation} does not give {out}"
                )

    def _check_linear(self) -> None:
        if len(self.weight_shape) != 2 or not self.input_shape:
            raise ValueError(f"{self.name}: a linear layer takes (…, in) and a weight (out, in)")
        features_out, features_in = self.weight_shape
        if self.input_shape[-1] != features_in or self.output_shape != (*self.input_shape[:-1], features_out):
            raise ValueError(
                f"{self.name}: weight {self.weight_shape} does not lead from {self.input_shape} to {self.output_shape}"
            )

    def _check_batch_norm(self) -> None:
        if self.input_shape != self.output_shape or len(self.input_shape) < 2:
            raise ValueError(f"{self.name}: a batch normalisation keeps the shape {self.input_shape}")
        if self.weight_shape not in ((), self.input_shape[1:2]):
            raise ValueError(f"{self.name}: {self.weight_shape} does not scale {self.input_shape[1]} channels")

    @property
    def is_weight_layer(self) -> bool:
        """Whether it is a convolution or a linear layer: those are counted and can be sparse."""
        return self.kind in ("conv", "linear")

    @property
    def images(self) -> int:
        """N: what the leading dimensions hold, over the whole traced batch."""
        return prod(self.input_shape[:-1]) if self.kind == "linear" else self.input_shape[0]

    @property
    def weight_elements(self) -> int:
        return prod(self.weight_shape)

    def symbols(self, N: int) -> Symbols:
        """The layer in the paper's symbols, for N images; a linear layer is a 1 × 1 convolution of 1 × 1 images."""
        if self.kind == "linear":
            return Symbols(N=N, F=self.weight_shape[0], C=self.weight_shape[1], R=1, S=1, X=1, Y=1, H=1, W=1)
        F, C, R, *S = self.weight_shape
        X, *Y = self.input_shape[2:]
        H, *W = self.output_shape[2:]
        return Symbols(N=N, F=F, C=C, R=R, S=prod(S), X=X, Y=prod(Y), H=H, W=prod(W))


def first_uses(layers: Iterable[Layer]) -> list[Layer]:
    """Each weight's first execution, so that what is shared is counted once."""
    seen: dict[str, Layer] = {}
    for layer in layers:
        seen.setdefault(layer.weight, layer)
    return list(seen.values())
