"""Algorithm 1's three products, on the program's own sparse kernels where they are chosen, as one autograd function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from swatcost.kernels.compiled import use_threads
from swatcost.kernels.vectors import LANES
from swatcost.network.passes import PASSES, Pass
from swatcost.reference.batch_last import batch_first, batch_last
from swatcost.reference.layer_kernels import ConvForm, Form, LinearForm
from swatcost.reference.products import Kept, Threshold, own_tensor
from swatcost.reference.sparse_form import SparseForm
from swatcost.reference.usual_order import in_own_order
from swatcost.reference.watched_products import watched_product

Way = Literal["dense", "masked", "sparse"]
"""How a product is computed: on whole operands; by torch, on operands with zeros; by a sparse kernel."""


def share_threads() -> None:
    """Lets kernels use as many threads as torch does; numba's first ones would have torch use all processors."""
    count = torch.get_num_threads()
    use_threads(count)
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)


@dataclass(frozen=True)
class Reads:
    """How each of a layer's products is computed, and the thresholds of the sparsified weight and input.

    `thinned` sparsifies the output gradient.
    """

    ways: Mapping[Pass, Way]
    of_weight: Threshold | None
    of_input: Threshold | None
    thinned: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class SparseKernels:
    """The program's own kernels, for those of a layer's passes that are to run on them."""

    passes: frozenset[Pass] = frozenset(PASSES)

    def suit(self, x: Tensor, weight: Tensor, form: Form) -> bool:
        """Whether they compute a layer: a linear one, or a convolution over images or sequences, in fp32 on a CPU.

        Operands that do not fit each other are left to torch, which refuses them; kernels would read beyond them.
        """
        if not x.device.type == weight.device.type == "cpu" or not x.dtype == weight.dtype == torch.float32:
            return False
        if isinstance(form, ConvForm) and (form.transposed or x.dim() != weight.dim() or not 3 <= x.dim() <= 4):
            return False
        channels, groups = (x.shape[1], form.groups) if isinstance(form, ConvForm) else (x.shape[-1], 1)
        if channels != groups * weight.shape[1] or not weight.numel():
            return False
        return SparseForm.of(form, x, weight).suits(len(x) if isinstance(form, ConvForm) else x.numel() // channels)

    def product(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, form: Form, active: Kept, kept: Kept, masked: set[Pass],
        thinned: Callable[[Tensor], Tensor] | None,
    ) -> Tensor:  # fmt: skip
        """The layer's output; in the passes that are `masked`, products read the active weight and the kept input."""
        operands = {"forward": active, "grad_input": active, "grad_weight": kept}
        ways: dict[Pass, Way] = {
            each: "dense" if each not in masked
            else "sparse" if each in self.passes and operands[each].threshold is not None
            else "masked"
            for each in PASSES
        }  # fmt: skip
        reads = Reads(ways, active.threshold, kept.threshold, thinned)
        with in_own_order():
            return KernelProduct.apply(x, weight, bias, form, active.tensor, kept.tensor, reads)  # type: ignore[no-any-return, no-untyped-call]


def _images(x: Tensor, form: Form) -> Tensor:
    """A layer's input or output as images: rows of a linear layer as images of one pixel, sequences as one line."""
    if isinstance(form, LinearForm):
        return x.reshape(-1, x.shape[-1])[:, :, None, None]
    return x if x.dim() == 4 else x.unsqueeze(2)


def _samples(x: Tensor, form: Form) -> int:
    """How many images those are."""
    return x.numel() // max(1, x.shape[-1]) if isinstance(form, LinearForm) else len(x)


def _shaped(images: Tensor, x: Tensor, form: Form) -> Tensor:
    """Images as a layer's output, which has the leading dimensions of x.

    The output of a linear layer stays batch-last for rows (samples, features). With more dimensions it is in the usual
    order, as a norm or attention mostly follows.
    """
    if not isinstance(form, LinearForm):
        return images if x.dim() == 4 else images.squeeze(2)
    if x.dim() == 2:
        return images[:, :, 0, 0]
    return batch_first(images).view(*x.shape[:-1], images.shape[1])


def _in_order(x: Tensor) -> Tensor:
    """A layer's operand as torch's kernels read it fastest."""
    return batch_first(x) if x.dim() == 4 else x


class KernelProduct(torch.autograd.Function):
    """A layer of Algorithm 1 whose products run as `reads.ways` says; otherwise as `products.SparseProduct`.

    `sparsified` is the weight whose elements count or not: the weight itself, or one that is masked already; `kept` is
    the same for the input.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, form: Form, sparsified: Tensor, kept: Tensor,
        reads: Reads,
    ) -> Tensor:  # fmt: skip
        share_threads()
        ctx.save_for_backward(weight, sparsified, kept)
        ctx.form, ctx.reads, ctx.sparse = form, reads, SparseForm.of(form, x, weight)
        active = Kept(sparsified, reads.of_weight)
        ways = reads.ways
        with watched_product(ctx.sparse.results(_samples(x, form))):
            ctx.weights = ctx.sparse.packed(active) if "sparse" in (ways["forward"], ways["grad_input"]) else None
            if ways["forward"] == "sparse":
                return own_tensor(_shaped(ctx.sparse.forward(_images(x, form), ctx.weights, bias), x, form))
            found = form.forward(_in_order(x), active.masked if ways["forward"] == "masked" else weight, bias)
            if x.dim() == (2 if isinstance(form, LinearForm) else 4) and len(found) % LANES == 0:
                found = _shaped(batch_last(_images(found, form)).permute(3, 2, 0, 1), x, form)
            return own_tensor(found)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        share_threads()
        needs_input, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        grad_bias = _summed(grad, ctx.form) if needs_bias else None
        thin = grad if ctx.reads.thinned is None else ctx.reads.thinned(grad)
        with watched_product(ctx.sparse.results(_samples(grad, ctx.form))):
            found = KernelProduct._gradients(ctx, thin, needs_input, needs_weight)
        return (*found, grad_bias, None, None, None, None)

    @staticmethod
    def _gradients(ctx: Any, thin: Tensor, needs_input: bool, needs_weight: bool) -> list[Tensor | None]:
        form, sparse, reads, ways = ctx.form, ctx.sparse, ctx.reads, ctx.reads.ways
        weight, sparsified, kept = ctx.saved_tensors
        active, x = Kept(sparsified, reads.of_weight), Kept(kept, reads.of_input)
        found: list[Tensor | None] = [None, None]
        if needs_input and ways["grad_input"] == "sparse":
            found[0] = _shaped(sparse.grad_input(_images(thin, form), ctx.weights), kept, form)
        if needs_weight and ways["grad_weight"] == "sparse":
            images = Kept(_images(kept, form), x.threshold)
            found[1] = sparse.grad_weight(_images(thin, form), images).view(weight.shape)
        wanted = (needs_input and found[0] is None, needs_weight and found[1] is None)
        if any(wanted):
            read = active.masked if ways["grad_input"] == "masked" else weight
            own = x.masked if ways["grad_weight"] == "masked" else kept
            others = form.gradients(_in_order(thin), _in_order(own), read, wanted)
            found = [its if mine is None else mine for mine, its in zip(found, others, strict=True)]
        return found


def _summed(grad: Tensor, form: Form) -> Tensor:
    """The gradient of the bias."""
    channels = grad.dim() - 1 if isinstance(form, LinearForm) else 1
    others = [each for each in range(grad.dim()) if each != channels]
    return grad.sum(others) if others else grad
