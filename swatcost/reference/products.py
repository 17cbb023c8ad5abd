"""Algorithm 1's three products of a convolution or linear layer, as one autograd function."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from swatcost.network.passes import Pass
from swatcost.reference.counts import Counter
from swatcost.reference.layer_kernels import Form, LinearForm


@dataclass(frozen=True)
class Operands:
    """What the three products read: dense or sparsified tensors, and the sparsifier of the output gradient, if any.

    Both gradient products read the same sparsified gradient; the bias gradient is full.
    """

    forward_weight: Tensor
    backward_weight: Tensor
    backward_input: Tensor
    thinned: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class Threshold:
    """What the magnitude of an element must exceed to count, or the L1 norm of its kernel W[f, c]."""

    value: float
    of_kernels: bool = False


@dataclass(frozen=True)
class Kept:
    """An operand, and the threshold of its elements that count; None if all do."""

    tensor: Tensor
    threshold: Threshold | None = None

    @property
    def masked(self) -> Tensor:
        """The operand, with the elements that do not count set to zero."""
        if self.threshold is None:
            return self.tensor
        measured = kernel_norms(self.tensor) if self.threshold.of_kernels else self.tensor.abs()
        return torch.where(measured > self.threshold.value, self.tensor, 0)


def kernel_norms(weight: Tensor) -> Tensor:
    """The L1 norm of every kernel W[f, c], (F, C, 1, …), added element by element, as sparse kernels add it too."""
    elements = weight.abs().flatten(2).unbind(2)
    return sum(elements[1:], elements[0]).view(*weight.shape[:2], *[1] * (weight.dim() - 2))


def own_tensor(x: Tensor) -> Tensor:
    """A tensor with x's memory that is not a view: autograd forbids in-place changes of views that functions return."""
    return torch.empty(0, dtype=x.dtype, device=x.device).set_(
        x.untyped_storage(), x.storage_offset(), x.shape, x.stride()
    )


class Kernels(Protocol):
    """What computes a layer's three products in the place of masked dense ones."""

    def suit(self, x: Tensor, weight: Tensor, form: Form) -> bool:
        """Whether they can compute a layer."""
        ...

    def product(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, form: Form, active: Kept, kept: Kept, masked: set[Pass],
        thinned: Callable[[Tensor], Tensor] | None,
    ) -> Tensor:  # fmt: skip
        """The layer's output; in the passes that are `masked`, products read the active weight and the kept input."""
        ...


class SparseProduct(torch.autograd.Function):
    """A layer of Algorithm 1.

    a_l = forward(W_l, a_{l−1});  ∇a_{l−1} = G_l(∇a_l, W_l);  ∇w_l = H_l(∇a_l, a_{l−1})      (Eqs. 1 to 3)

    Forward and grad_input read the active weights, grad_weight the largest activations; the output gradient is full
    (except in meProp), so every weight gets a gradient.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        form: Form,
        operands: Operands,
        counter: Counter | None,
    ) -> Tensor:
        ctx.save_for_backward(operands.backward_input, operands.backward_weight)
        ctx.form, ctx.thinned, ctx.counter = form, operands.thinned, counter
        output = form.forward(x, operands.forward_weight, bias)
        output = own_tensor(output) if output._is_view() else output
        if counter is not None:
            weights = (weight, operands.forward_weight, operands.backward_weight)
            counter.forward(form, x, weights, operands.backward_input)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        x, weight = ctx.saved_tensors
        needs_input, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        grad_bias = None
        if needs_bias:
            channels_last = grad if isinstance(ctx.form, LinearForm) else grad.movedim(1, -1)
            grad_bias = channels_last.reshape(-1, channels_last.shape[-1]).sum(0)
        thin = grad if ctx.thinned is None else ctx.thinned(grad)
        wanted = (needs_input, needs_weight)
        if ctx.counter is not None:
            ctx.counter.backward(ctx.form, x, weight, thin, wanted, thinned=thin is not grad)
        return (*ctx.form.gradients(thin, x, weight, wanted), grad_bias, None, None, None)
