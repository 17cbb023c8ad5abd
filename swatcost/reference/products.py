"""Algorithm 1's three products of a convolution or linear layer, as one autograd function."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

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
