"""How a convolution or linear layer multiplies its operands, forward and backward: torch's own kernels."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


class Form(Protocol):
    """How a layer multiplies its input by its weight, and the gradients."""

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor: ...

    def gradients(
        self, grad: Tensor, x: Tensor, weight: Tensor, wanted: tuple[bool, bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        """grad_input, which reads the weight, and grad_weight, which reads the input; None where not wanted."""
        ...


@dataclass(frozen=True)
class LinearForm:
    """x (…, in) by weight (out, in)."""

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return torch.nn.functional.linear(x, weight, bias)

    def gradients(
        self, grad: Tensor, x: Tensor, weight: Tensor, wanted: tuple[bool, bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        grad_input = grad @ weight if wanted[0] else None
        rows = grad.reshape(-1, grad.shape[-1])
        grad_weight = rows.t() @ x.reshape(-1, x.shape[-1]) if wanted[1] else None
        return grad_input, grad_weight


@dataclass(frozen=True)
class ConvForm:
    """x (N, C, X, …) by weight (F, C / groups, R, …), in any number of dimensions, transposed or not."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1
    transposed: bool = False
    output_padding: tuple[int, ...] = ()

    @property
    def _arguments(self) -> tuple[Any, ...]:
        spare = self.output_padding or (0,) * len(self.stride)
        return self.stride, self.padding, self.dilation, self.transposed, spare, self.groups

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return torch.convolution(x, weight, bias, *self._arguments)

    def gradients(
        self, grad: Tensor, x: Tensor, weight: Tensor, wanted: tuple[bool, bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        found = torch.ops.aten.convolution_backward(grad, x, weight, None, *self._arguments, (*wanted, False))
        return found[0], found[1]
