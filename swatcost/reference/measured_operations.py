"""The time of dense products by shape: convolutions, linear layers and products of activations, pass by pass."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from swatcost.devices.operations import OperationKind, OperationPoint, ProductPrecision
from swatcost.network.passes import Pass
from swatcost.reference.layer_kernels import ConvForm, Form, LinearForm
from swatcost.reference.timer import DTYPES, Operation, Timing, computing_in, in_turn, timed, written


class Shape(Protocol):
    """The shape of a product: the sizes of its operands, and the form that multiplies them."""

    @property
    def kind(self) -> OperationKind: ...
    @property
    def name(self) -> str: ...
    @property
    def form(self) -> Form: ...
    @property
    def sizes(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Those of the input, the weight (a product's second operand), and the result."""
        ...

    def point(self, seconds: float) -> OperationPoint: ...


@dataclass(frozen=True)
class Convolution:
    """`filters` of kernel × kernel over `channels`, with side × side output positions per image; padded by half."""

    images: int
    channels: int
    filters: int
    side: int
    kernel: int
    stride: int = 1
    groups: int = 1

    @property
    def kind(self) -> OperationKind:
        return "depthwise" if self.groups == self.channels > 1 else "conv"

    @property
    def name(self) -> str:
        of = f"{self.images}×{self.channels}→{self.filters} {self.kernel}×{self.kernel}, {self.side}×{self.side}"
        return of + (f", stride {self.stride}" if self.stride > 1 else "") + self._grouped

    @property
    def _grouped(self) -> str:
        return f", {self.groups} groups" if self.groups > 1 else ""

    @property
    def form(self) -> Form:
        half = self.kernel // 2
        return ConvForm((self.stride,) * 2, (half, half), (1, 1), self.groups)

    @property
    def sizes(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        before = self.side * self.stride
        return (
            (self.images, self.channels, before, before),
            (self.filters, self.channels // self.groups, self.kernel, self.kernel),
            (self.images, self.filters, self.side, self.side),
        )

    def point(self, seconds: float) -> OperationPoint:
        channels, filters = self.channels // self.groups, self.filters // self.groups
        rows = self.images * self.side**2
        return OperationPoint(rows, channels, filters, self.kernel**2, self.stride, self.groups, seconds)


@dataclass(frozen=True)
class Linear:
    """`rows` of `inputs` features by a weight (outputs, inputs), with a bias."""

    rows: int
    inputs: int
    outputs: int
    kind: OperationKind = "linear"

    @property
    def name(self) -> str:
        return f"{self.rows} rows, {self.inputs}→{self.outputs}"

    @property
    def form(self) -> Form:
        return LinearForm()

    @property
    def sizes(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        return (self.rows, self.inputs), (self.outputs, self.inputs), (self.rows, self.outputs)

    def point(self, seconds: float) -> OperationPoint:
        return OperationPoint(self.rows, self.inputs, self.outputs, 1, 1, 1, seconds)


@dataclass(frozen=True)
class ProductForm:
    """Products of matrices (B, M, K) by (B, K, N), and the gradients of both."""

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return torch.bmm(x, weight)

    def gradients(
        self, grad: Tensor, x: Tensor, weight: Tensor, wanted: tuple[bool, bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        return (
            torch.bmm(grad, weight.transpose(1, 2)) if wanted[0] else None,
            torch.bmm(x.transpose(1, 2), grad) if wanted[1] else None,
        )


@dataclass(frozen=True)
class Product:
    """`matrices` of rows × inner, each by one of inner × columns: attention's, per head and sample."""

    matrices: int
    rows: int
    inner: int
    columns: int
    kind: OperationKind = "product"

    @property
    def name(self) -> str:
        return f"{self.matrices} × ({self.rows}×{self.inner} by {self.inner}×{self.columns})"

    @property
    def form(self) -> Form:
        return ProductForm()

    @property
    def sizes(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        left, right = (self.rows, self.inner), (self.inner, self.columns)
        return (self.matrices, *left), (self.matrices, *right), (self.matrices, self.rows, self.columns)

    def point(self, seconds: float) -> OperationPoint:
        return OperationPoint(self.rows, self.inner, self.columns, 1, 1, self.matrices, seconds)


def measure(shape: Shape, in_pass: Pass, precision: ProductPrecision, on: str) -> Timing:
    """The time of one pass of an operation, a linear layer's with its bias.

    What the layer before has just written (the input, or the output's gradient) is written anew before each run; the
    other operand has not been used for a while. Results have memory of their own.
    """
    operands = operands_of(shape, precision, on)
    bias = torch.zeros_like(operands.grad[0]) if shape.kind == "linear" else None
    fresh, stale = operands.read_by(in_pass)
    turn = in_turn(stale)
    with computing_in(precision, on), torch.no_grad():
        return timed(dense(shape, in_pass, operands, bias), lambda: (written(fresh), next(turn)), on)


@dataclass(frozen=True)
class Operands:
    """An operation's input, weight (or second operand), and the gradient of its output."""

    x: Tensor
    weight: Tensor
    grad: Tensor

    def read_by(self, in_pass: Pass) -> tuple[Tensor, Tensor]:
        """What a pass multiplies: the operand that was just written, and the other one."""
        if in_pass == "forward":
            return self.x, self.weight
        return self.grad, self.weight if in_pass == "grad_input" else self.x


def operands_of(shape: Shape, precision: ProductPrecision, on: str) -> Operands:
    """Random operands."""
    generator = torch.Generator(on).manual_seed(0)
    x, weight, grad = (torch.empty(size, device=on).uniform_(-1, 1, generator=generator) for size in shape.sizes)
    return Operands(*(each.to(DTYPES[precision]) for each in (x, weight, grad)))


def dense(shape: Shape, in_pass: Pass, operands: Operands, bias: Tensor | None = None) -> Operation:
    """torch's kernel for a pass, as a function of the operand that was just written and of the other one."""
    form = shape.form
    if in_pass == "forward":
        return lambda fresh, stale: form.forward(fresh, stale, bias)
    if in_pass == "grad_input":
        return lambda fresh, stale: form.gradients(fresh, operands.x, stale, (True, False))
    return lambda fresh, stale: form.gradients(fresh, stale, operands.weight, (False, True))
