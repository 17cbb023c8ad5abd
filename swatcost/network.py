"""What a trace says of a network: plain data that needs no torch, written once and read often.

Shapes are the ones that torch saw, batch included; `Network.batch_size` says how many samples they hold.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec

from swatcost.errors import SwatcostError
from swatcost.files import write_atomically

SCHEMA: Literal["swatcost.trace/1"] = "swatcost.trace/1"

Natural = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
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
class Parameter:
    """A parameter of the network, once however many modules share it."""

    name: str
    shape: tuple[Natural, ...]
    element_bytes: Positive
    trains: bool

    @property
    def elements(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True, kw_only=True)
class Buffer:
    """A buffer of the network, such as a running mean."""

    name: str
    shape: tuple[Natural, ...]
    element_bytes: Positive


@dataclass(frozen=True, kw_only=True)
class SavedTensor:
    """A tensor that autograd keeps for the backward pass.

    `storage` identifies the memory it lives in: two saved tensors of one storage cost its `storage_bytes`
    once. `held_by` is the qualified name of the innermost module that was running. A tensor that
    `scales_with_batch` holds so many bytes at the traced batch size and proportionally more at another.
    """

    storage: Natural
    storage_bytes: Natural
    held_by: str
    scales_with_batch: bool


@dataclass(frozen=True, kw_only=True)
class Uncounted:
    """Operations that do arithmetic and for which no layer was recorded."""

    operation: str
    calls: Positive
    places: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One execution of a convolution, a linear layer or a batch normalisation.

    A conv has input_shape (N, C·groups, X, Y), weight_shape (F, C, R, S) and output_shape (N, F, H, W), with
    as many spatial dimensions as its kernel; a linear layer has (…, features in), (out, in) and
    (…, features out); a batch normalisation has weight_shape (channels,), or () without scale and shift.

    Raises ValueError when the numbers contradict each other.
    """

    name: str
    kind: LayerKind
    input_shape: Shape
    output_shape: Shape
    weight_shape: Shape
    stride: Shape = ()
    padding: tuple[Natural, ...] = ()
    dilation: Shape = ()
    groups: Positive = 1
    parameters: tuple[str, ...] = ()
    weight: str | None = None
    input_needs_grad: bool
    weight_trains: bool
    input_storage: Natural

    def __post_init__(self) -> None:
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
    def multiplies(self) -> bool:
        """Whether the layer is one of those that the paper counts and sparsifies: conv or linear."""
        return self.kind != "batch_norm"

    @property
    def images(self) -> int:
        """N: what the leading dimensions hold, over the whole traced batch."""
        return prod(self.input_shape[:-1]) if self.kind == "linear" else self.input_shape[0]

    @property
    def weight_elements(self) -> int:
        return prod(self.weight_shape)

    @property
    def weight_key(self) -> str:
        """What names the weight: executions with the same key share it."""
        return self.weight or self.name

    def symbols(self, N: int) -> Symbols:
        """The layer in the paper's symbols, for N images; a linear layer is a 1 × 1 convolution of 1 × 1 images."""
        if self.kind == "linear":
            return Symbols(N=N, F=self.weight_shape[0], C=self.weight_shape[1], R=1, S=1, X=1, Y=1, H=1, W=1)
        F, C, R, *S = self.weight_shape
        X, *Y = self.input_shape[2:]
        H, *W = self.output_shape[2:]
        return Symbols(N=N, F=F, C=C, R=R, S=prod(S), X=X, Y=prod(Y), H=H, W=prod(W))


@dataclass(frozen=True, kw_only=True)
class Network:
    """A traced network: its operations in execution order, its tensors, and what was not understood.

    Raises ValueError when a layer names a parameter that the network does not have, or when two of its
    tensors contradict each other.
    """

    name: str
    input_shapes: tuple[Shape, ...]
    batch_size: Positive
    layers: tuple[Layer, ...]
    parameters: tuple[Parameter, ...]
    buffers: tuple[Buffer, ...]
    saved: tuple[SavedTensor, ...]
    uncounted: tuple[Uncounted, ...]
    torch_version: str
    schema: Literal["swatcost.trace/1"] = SCHEMA

    def __post_init__(self) -> None:
        known = {parameter.name: parameter for parameter in self.parameters}
        if len(known) != len(self.parameters):
            raise ValueError("two parameters have one name")
        for layer in self.layers:
            for name in layer.parameters:
                if name not in known:
                    raise ValueError(f"{layer.name}: no parameter is called {name!r}")
            if layer.weight is not None and layer.weight not in layer.parameters:
                raise ValueError(f"{layer.name}: its weight {layer.weight!r} is none of its parameters")
            if layer.weight is not None and known[layer.weight].elements != layer.weight_elements:
                raise ValueError(
                    f"{layer.name}: {layer.weight} has {known[layer.weight].elements} elements, "
                    f"not {layer.weight_elements}"
                )
        sizes: dict[int, tuple[int, bool]] = {}
        for saved in self.saved:
            size = (saved.storage_bytes, saved.scales_with_batch)
            if sizes.setdefault(saved.storage, size) != size:
                raise ValueError(f"storage {saved.storage} is given two sizes")

    @cached_property
    def multiplying(self) -> tuple[Layer, ...]:
        """The conv and linear layers, in execution order."""
        return tuple(layer for layer in self.layers if layer.multiplies)

    @property
    def batch_tells(self) -> bool:
        """Whether the traced batch size tells for certain which tensors grow with the batch."""
        shapes = [each.shape for each in self.parameters] + [each.shape for each in self.buffers]
        shapes += [shape[1:] for shape in self.input_shapes]
        return tells_batch(self.batch_size, [size for shape in shapes for size in shape])

    def sample_shape(self, shape: Shape) -> Shape:
        """A traced shape as one sample has it: without the batch, or with what the batch was folded into."""
        leading, *rest = shape
        if leading % self.batch_size:
            return shape
        return tuple(rest) if leading == self.batch_size else (leading // self.batch_size, *rest)

    @property
    def parameter_elements(self) -> int:
        return sum(parameter.elements for parameter in self.parameters)

    @property
    def weight_elements(self) -> int:
        """Weights of conv and linear layers, shared ones once, biases left out."""
        return sum(layer.weight_elements for layer in first_uses(self.multiplying))

    def scales_with_batch(self, layer: Layer) -> bool:
        """Whether the layer's work grows with the batch; a layer that only sees constants does not."""
        return layer.images % self.batch_size == 0

    def images_per_sample(self, layer: Layer) -> int:
        """N for one sample: 1 for most layers, tokens for a linear layer, frames for a folded video.

        A layer that does not scale with the batch is charged whole to each sample.
        """
        return layer.images // self.batch_size if self.scales_with_batch(layer) else layer.images

    def input_elements(self, layer: Layer) -> int:
        """Elements that enter the layer for one sample."""
        return prod(layer.input_shape) // layer.images * self.images_per_sample(layer)

    def save(self, path: str | Path) -> None:
        """Writes the trace as JSON; an interrupted write leaves nothing behind."""
        write_atomically(Path(path), self.to_json())

    def to_json(self) -> str:
        """The trace as JSON text."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1).decode() + "\n"


def first_uses(layers: Iterable[Layer]) -> list[Layer]:
    """Each weight's first execution, so that what is shared is counted once."""
    seen: dict[str, Layer] = {}
    for layer in layers:
        seen.setdefault(layer.weight_key, layer)
    return list(seen.values())


def tells_batch(batch_size: int, dims: Iterable[int]) -> bool:
    """Whether a tensor's size is a multiple of this batch size if and only if it grows with the batch.

    A prime that divides none of the network's dimensions has this property.
    """
    prime = batch_size > 1 and all(batch_size % divisor for divisor in range(2, batch_size))
    return prime and all(size % batch_size for size in dims)


class _Header(msgspec.Struct):
    schema: str


def read_network(path: str | Path) -> Network:
    """Reads a saved trace. The file is data: nothing in it is executed.

    Raises SwatcostError when it cannot be read, is damaged, or is of another schema.
    """
    path = Path(path)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise SwatcostError(f"cannot read {path}: {error.strerror}") from None
    try:
        schema = msgspec.json.decode(text, type=_Header).schema
        if schema != SCHEMA:
            raise SwatcostError(f"{path} has schema {schema!r}, this version reads {SCHEMA!r}: trace it again")
        return msgspec.json.decode(text, type=Network)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SwatcostError(f"{path} is not a usable trace: {error}") from None
