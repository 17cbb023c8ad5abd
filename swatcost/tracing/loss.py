"""The loss that ends a traced forward pass."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swatcost.common.errors import SwatcostError, first_line
from swatcost.common.printing import printable
from swatcost.tracing.arguments import tensors_in
from swatcost.tracing.autograd_graph import behind, differentiable

OwnLoss = Callable[[Any], Tensor]
"""A user's loss: of the network's output, as the network returns it."""


@dataclass(frozen=True)
class NamedLoss:
    """A user's loss by the name that it was asked for, such as `path/file.py:factory`."""

    name: str
    function: OwnLoss

    def __call__(self, result: Any) -> Tensor:
        return self.function(result)


class LossError(SwatcostError):
    """A user's loss raised an exception, or returned something else than one number with a gradient."""


class NotAssumableError(Exception):
    """The loss that nobody asked for cannot be computed from the network's output."""


_NAMES = ("none", "mse", "cross-entropy")
_THE_NETWORKS = "its own"


@dataclass(frozen=True)
class Ending:
    """How a step's forward pass ends: the scalar from which the backward pass starts, and the loss that it is.

    The scalar is None if no output has a gradient.
    """

    scalar: Tensor | None
    name: str


class Loss:
    """The loss of a step. `targets` makes what a user would give to the loss beside an output: a tensor of a shape and
    a dtype.

    Without a name it is what the network's output looks like: the network's own where that returns a scalar (`loss`,
    if outputs have names); the cross-entropy of classes, for outputs (`logits`, if there are any) of two dimensions, or
    of tokens, for outputs of three dimensions whose last is the size of one of the network's embeddings; else none.
    """

    def __init__(self, asked: str | OwnLoss | None, *, is_assumed: bool | None = None) -> None:
        if isinstance(asked, str) and asked not in _NAMES:
            raise SwatcostError(f"loss {asked!r:.80}: give {', '.join(_NAMES)}, or FILE:factory for a loss of your own")
        if asked is not None and not isinstance(asked, str) and not callable(asked):
            raise SwatcostError(f"loss {asked!r:.80}: give a name, or a function of the network's output")
        self._asked = asked
        self.is_assumed = asked is None if is_assumed is None else is_assumed

    def without(self) -> "Loss":
        """The same with no loss in place of an assumed one."""
        return Loss("none", is_assumed=True)

    def of(self, result: Any, model: nn.Module, targets: Callable[..., Tensor]) -> Ending:
        """The end of a forward pass with this result.

        Raises SwatcostError if the loss that was asked for cannot be computed from it, and NotAssumableError if that of
        nobody's asking cannot.
        """
        if self._asked is not None:
            return self._of(result, model, targets)
        try:
            return self._of(result, model, targets)
        except Exception as error:
            raise NotAssumableError from error

    def _of(self, result: Any, model: nn.Module, targets: Callable[..., Tensor]) -> Ending:
        outputs = differentiable(result)
        if not outputs:
            return Ending(None, "none")
        if callable(self._asked):
            return self._users(self._asked, result)
        own, scores = _losses_in(result, outputs), _scores_in(result, outputs)
        name = self._asked
        if name is None:
            vocabularies = {each.num_embeddings for each in model.modules() if isinstance(each, nn.Embedding)}
            classes = bool(scores) and all(_are_scores(each, vocabularies) for each in scores)
            name = _THE_NETWORKS if own else "cross-entropy" if classes else "none"
        if name == "none":
            return Ending(_Nothing.apply(*outputs), name)
        if name == _THE_NETWORKS:
            losses = own
        elif name == "cross-entropy":
            losses = [_cross_entropy(each, targets) for each in scores]
        else:
            losses = [_squared_error(each, targets) for each in outputs]
        return Ending(_with_unreached(losses, outputs), name)

    @staticmethod
    def _users(loss: OwnLoss, result: Any) -> Ending:
        name = printable(loss.name if isinstance(loss, NamedLoss) else getattr(loss, "__name__", type(loss).__name__))
        try:
            found = loss(result)
        except (Exception, SystemExit) as error:
            raise LossError(
                f"loss {name} raised {type(error).__name__}: {first_line(error)}; it is called with what the network "
                "returns, and nothing else"
            ) from error
        if not isinstance(found, Tensor) or found.numel() != 1 or found.is_complex() or not found.requires_grad:
            raise LossError(f"loss {name} returned {_described(found)}: let it return one real number with a gradient")
        return Ending(found, name)


class _Nothing(torch.autograd.Function):
    """A scalar that saves nothing; its backward pass makes one gradient per output, as the mean squared error's does.

    Autograd frees each gradient as soon as the output's own operation has used it. Gradients passed to
    `torch.autograd.backward` would be held through the whole backward pass.
    """

    @staticmethod
    def forward(ctx: Any, *outputs: Tensor) -> Tensor:
        ctx.layouts = [_layout(each) for each in outputs]
        return torch.empty((), dtype=outputs[0].dtype.to_real(), device=outputs[0].device)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.ones_like(each) if isinstance(each, Tensor) else _ones(*each) for each in ctx.layouts)


def is_nothing(node: Any) -> bool:
    """Whether a node of autograd's graph is the end of a step without a loss, whose backward pass only makes ones."""
    return getattr(node, "_forward_cls", None) is _Nothing


def _layout(output: Tensor) -> Any:
    """What a gradient like an output is made from, so that the output itself can go; the output, if it is nested."""
    if output.is_nested or output.layout != torch.strided:
        return output
    return output.shape, output.stride(), output.dtype, output.device


def _ones(shape: tuple[int, ...], stride: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    dense = torch.empty_strided(shape, stride, dtype=dtype, device="meta")  # views of others have gaps between numbers
    return torch.empty_like(dense, device=device).fill_(1)


def _with_unreached(losses: Sequence[Tensor], outputs: Sequence[Tensor]) -> Tensor:
    """The sum of losses, and of nothing over outputs that they do not reach, which something else trains."""
    nodes = behind(each.grad_fn for each in losses) if len(outputs) > 1 else set()
    others = [each for each in outputs if nodes and each.grad_fn not in nodes]
    total = losses[0]
    for each in losses[1:]:
        total = total + each
    return _Nothing.apply(total, *others) if others else total


def _losses_in(result: Any, outputs: Sequence[Tensor]) -> list[Tensor]:
    """The losses among a network's results: the one that is called so, or else every scalar."""
    named = _named(result, "loss")
    if isinstance(named, Tensor) and named.dim() == 0 and named.requires_grad:
        return [named]
    return [each for each in outputs if each.dim() == 0 and each.is_floating_point()]


def _scores_in(result: Any, outputs: Sequence[Tensor]) -> list[Tensor]:
    """The outputs that may be scores of classes: those called logits, or else all."""
    named = _named(result, "logits")
    return differentiable(named) if tensors_in(named) else list(outputs)


def _named(result: Any, name: str) -> Any:
    return result.get(name) if isinstance(result, Mapping) else getattr(result, name, None)


def _are_scores(output: Tensor, vocabularies: set[int]) -> bool:
    """Whether they look like scores of classes, one row per sample, or of tokens."""
    if not output.is_floating_point() or output.is_nested or output.dim() not in (2, 3) or output.shape[-1] < 2:
        return False
    return output.dim() == 2 or output.shape[-1] in vocabularies


def _cross_entropy(output: Tensor, targets: Callable[..., Tensor]) -> Tensor:
    """The mean over rows of classes: the last dimension, or the second of images, whose classes come before places."""
    if output.dim() < 2 or not output.is_floating_point():
        raise SwatcostError(f"loss cross-entropy: an output of {tuple(output.shape)} has no dimension of classes")
    if output.dim() > 3:
        return F.cross_entropy(output, targets(output, (output.shape[0], *output.shape[2:]), torch.int64))
    rows = output.flatten(0, -2)
    return F.cross_entropy(rows, targets(output, rows.shape[:1], torch.int64))


def _squared_error(output: Tensor, targets: Callable[..., Tensor]) -> Tensor:
    if not output.is_floating_point():
        raise SwatcostError(f"loss mse: an output of {output.dtype} has no squared error here")
    return F.mse_loss(output, targets(output, output.shape, output.dtype))


def _described(value: Any) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    kind = f"a number of {value.dtype}" if value.numel() == 1 else f"a tensor of {tuple(value.shape)}"
    return kind if value.requires_grad else f"{kind} without a gradient"
