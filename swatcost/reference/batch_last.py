"""Activations whose samples lie side by side in memory, as sparse kernels read them: height, width, channels, samples.

Such a tensor has torch's usual shape (samples, channels, height, width) and other strides. Elementwise operations keep
these; the layers here compute normalisation and pooling without copies. Whoever needs another order makes a copy, so a
network pays for a change of layout where it happens, not at every layer.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from swatcost.kernels import layout
from swatcost.kernels.memory import in_lines
from swatcost.kernels.vectors import LANES
from swatcost.reference.products import own_tensor


def padded(samples: int) -> int:
    """The samples that a batch-last array holds: a multiple of a vector's numbers."""
    return -(-samples // LANES) * LANES


def empty(*shape: int) -> Tensor:
    """An uninitialised tensor, in whole lines of the cache."""
    return torch.from_numpy(in_lines(*shape))


def is_batch_last(x: Tensor) -> bool:
    """Whether images lie as kernels write them: batch-last, in whole vectors, and not in the usual order as well."""
    if x.dim() != 4 or len(x) % LANES or x.device.type != "cpu":
        return False
    return x.permute(2, 3, 1, 0).is_contiguous() and not x.is_contiguous()


def batch_last(x: Tensor) -> Tensor:
    """An array (height, width, channels, samples), contiguous, of a batch of images; padded with samples of zeros.

    The batch's own memory if it lies so already.
    """
    found = x.permute(2, 3, 1, 0)
    if found.is_contiguous() and len(x) % LANES == 0:
        return found
    samples, channels, height, width = x.shape
    copy = empty(height, width, channels, padded(samples))
    layout.batch_last(
        x.contiguous().view(samples, channels, height * width).numpy(),
        copy.view(height * width, channels, copy.shape[3]).numpy(),
    )
    return copy


def from_batch_last(array: Tensor, samples: int) -> Tensor:
    """The images of an array (height, width, channels, samples), without those that pad it: its own memory, if none."""
    if array.shape[3] == samples:
        return own_tensor(array.permute(3, 2, 0, 1))
    return batch_first(array.permute(3, 2, 0, 1), samples)


def batch_first(x: Tensor, samples: int | None = None) -> Tensor:
    """Images in torch's usual order; the first `samples` of them."""
    array = x.permute(2, 3, 1, 0)
    if x.is_contiguous() or not array.is_contiguous():
        return x.contiguous()[:samples]
    height, width, channels, held = array.shape
    copy = empty(held if samples is None else samples, channels, height, width)
    layout.batch_first(
        array.view(height * width, channels, held).numpy(), copy.view(len(copy), channels, height * width).numpy()
    )
    return copy


def _by_pixel(x: Tensor) -> Tensor:
    """A batch-last batch as a batch of pixels, each an image of a column of samples for every channel."""
    samples, channels, height, width = x.shape
    return x.permute(2, 3, 1, 0).reshape(height * width, channels, samples, 1)


class _Normalisation(torch.autograd.Function):
    """torch's batch normalisation of a batch-last input: its sums go over pixels and samples in any order."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        running: Any,
        learns: bool,
        momentum: float,
        eps: float,
    ) -> Tensor:
        found, *ctx.moments = torch.ops.aten.native_batch_norm(
            _by_pixel(x), weight, bias, *running, learns, momentum, eps
        )
        ctx.save_for_backward(x, weight, *(() if learns else running))  # those that learn are not read again
        ctx.running, ctx.learns, ctx.eps = running, learns, eps
        return _of_shape(found, x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, *_ = ctx.saved_tensors
        grad = batch_last(grads[0]).permute(3, 2, 0, 1)
        found = torch.ops.aten.native_batch_norm_backward(
            _by_pixel(grad),
            _by_pixel(x),
            weight,
            *ctx.running,
            *ctx.moments,
            ctx.learns,
            ctx.eps,
            ctx.needs_input_grad[:3],
        )
        return (_of_shape(found[0], x), *found[1:], None, None, None, None)


def _of_shape(pixels: Tensor, x: Tensor) -> Tensor:
    samples, channels, height, width = x.shape
    return own_tensor(pixels.view(height, width, channels, samples).permute(3, 2, 0, 1))


class BatchLastNorm(nn.BatchNorm2d):
    """nn.BatchNorm2d, without a copy of a batch-last input."""

    def forward(self, input: Tensor) -> Tensor:
        if not is_batch_last(input) or input.dtype != torch.float32 or input.shape[1] != self.num_features:
            return super().forward(input)  # copies are float32; torch refuses other channels
        momentum = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            momentum = 1.0 / float(self.num_batches_tracked) if self.momentum is None else momentum
        learns = self.training or self.running_mean is None
        running = (
            (self.running_mean, self.running_var) if not self.training or self.track_running_stats else (None, None)
        )
        return _Normalisation.apply(input, self.weight, self.bias, running, learns, momentum, self.eps)  # type: ignore[no-any-return, no-untyped-call]


class _Pooling(nn.Module):
    """Pooling of a batch-last input as of one image whose channels are channels and samples."""

    def forward(self: Any, input: Tensor) -> Any:
        pool = super().forward
        if not is_batch_last(input) or getattr(self, "return_indices", False):  # indices are those of other images
            return pool(input)
        samples, channels, height, width = input.shape
        image = input.permute(2, 3, 1, 0).reshape(1, height, width, channels * samples).permute(0, 3, 1, 2)
        found = pool(image).permute(0, 2, 3, 1)  # channels last, as torch pools without a copy
        return found.reshape(*found.shape[1:3], channels, samples).permute(3, 2, 0, 1)


class BatchLastMaxPool(_Pooling, nn.MaxPool2d):
    """nn.MaxPool2d, without a copy of a batch-last input."""


class BatchLastAvgPool(_Pooling, nn.AvgPool2d):
    """nn.AvgPool2d, without a copy of a batch-last input."""


class BatchLastAdaptiveAvgPool(_Pooling, nn.AdaptiveAvgPool2d):
    """nn.AdaptiveAvgPool2d, without a copy of a batch-last input."""


BATCH_LAST: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm2d: BatchLastNorm,
    nn.MaxPool2d: BatchLastMaxPool,
    nn.AvgPool2d: BatchLastAvgPool,
    nn.AdaptiveAvgPool2d: BatchLastAdaptiveAvgPool,
}
"""The replacement of each of torch's classes."""
