"""Several parts in a row, and what may be around a part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from benchmarks.random_networks.parts import PARTS, Draw, Shape, part


@part()
def block(draw: Draw, x: Shape) -> nn.Module | None:
    """Some parts in a row."""
    parts: list[nn.Module] = []
    value = torch.zeros(x)
    for _ in range(draw.integer(2, 4)):
        made = draw.choice([each for name, each in PARTS.items() if each.inputs == 1 and name != "block"])
        module = made(draw, tuple(value.shape))
        if module is None:
            continue
        with torch.no_grad():
            value = module(value)
        if value.dim() < 2 or value.shape[0] != x[0] or not 0 < value.numel() <= 4_000:
            return None
        parts.append(module)
    return nn.Sequential(*parts) if parts else None


# Around a part


class _Around(nn.Module):
    """Runs a module inside `around`."""

    def __init__(self, module: nn.Module, around: Callable[..., Any]) -> None:
        super().__init__()
        self.module, self.around = module, around

    def forward(self, *values: Tensor) -> Any:
        return self.around(self.module, *values)


def _under(mode: Callable[[], Any]) -> Callable[[nn.Module], nn.Module]:
    def run(module: nn.Module, *values: Tensor) -> Any:
        with mode():
            return module(*values)

    return lambda module: _Around(module, run)


WRAPPERS: dict[str, tuple[float, Callable[[nn.Module], nn.Module]]] = {
    "frozen": (0.12, lambda module: module.requires_grad_(False)),
    "checkpointed": (0.06, lambda module: _Around(module, lambda f, *x: checkpoint(f, *x, use_reentrant=False))),
    "reentrant": (0.04, lambda module: _Around(module, lambda f, *x: checkpoint(f, *x, use_reentrant=True))),
    "no_grad": (0.04, _under(torch.no_grad)),
    "inference_mode": (0.02, lambda module: _Around(module, lambda f, *x: _inferred(f, x))),
    "detached": (0.03, lambda module: _Around(module, lambda f, *x: f(*x).detach())),
    "residual": (0.05, lambda module: _Around(module, lambda f, x, *more: x + f(x, *more))),
    "twice": (0.04, lambda module: _Around(module, _twice)),
}
"""With the share of parts that have them."""


def _twice(module: nn.Module, x: Tensor, *more: Tensor) -> Tensor:
    """Only where the shape allows it: transposed convolutions on the meta device do not look at channels."""
    result: Tensor = module(x, *more)
    return module(result, *more) if result.shape == x.shape else result


def _inferred(module: nn.Module, values: Sequence[Tensor]) -> Tensor:
    with torch.inference_mode():
        result: Tensor = module(*values)
    return result.clone()
