"""Custom autograd functions, and gradients of gradients: what the backward pass executes is counted or announced."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input, conv2d_weight
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

import swatcost

from .cases import Applied, weights
from .test_products import alarms, macs


class Saving(torch.autograd.Function):
    """Saves what it is called with."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)


class StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.sign()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


class Rectified(Saving):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grads[0] * (x > 0)


class NoGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        out = torch.empty_like(x)
        return out.copy_(x).round_()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return torch.zeros_like(grads[0])


class Product(Saving):
    @staticmethod
    def forward(x: Tensor, w: Tensor) -> Tensor:
        return x @ w

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        x, w = ctx.saved_tensors
        return grads[0] @ w.t(), x.t() @ grads[0]


class Convolution(Saving):
    @staticmethod
    def forward(x: Tensor, w: Tensor) -> Tensor:
        return F.conv2d(x, w)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        x, w = ctx.saved_tensors
        return conv2d_input(x.shape, w, grads[0]), conv2d_weight(x, w.shape, grads[0])


class Recomputing(Saving):
    """Runs forward again in its backward pass, as checkpoints of other libraries and reversible networks do."""

    @staticmethod
    def forward(x: Tensor, w: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.tanh(x @ w) @ w.t()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            x, w = (each.detach().requires_grad_() for each in ctx.saved_tensors)
            return torch.autograd.grad(torch.tanh(x @ w) @ w.t(), (x, w), grads)


class Keeping(torch.autograd.Function):
    """Makes a graph of its own in its forward pass, and runs through that in its backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        with torch.enable_grad():
            ctx.given = tuple(each.detach().requires_grad_() for each in (x, w))
            ctx.result = torch.tanh(ctx.given[0] @ ctx.given[1])
        return ctx.result.detach()  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(ctx.result, ctx.given, grads)


def penalised(self: Any, x: Tensor) -> Tensor:
    """A gradient penalty: the gradient of the input is itself a result."""
    x = x.detach().requires_grad_()
    return torch.autograd.grad(self.part(x).tanh().sum(), x, create_graph=True)[0]


def of_function(function: Any, *shape: int) -> nn.Module:
    return Applied(
        lambda self, x: function.apply(self.part(x), self.w), {"part": nn.Linear(6, 6), "w": weights(*shape)}
    )


class Counter(TorchDispatchMode):
    """Torch's formulas, without the hooks on modules that FlopCounterMode has: they do not survive `penalised`."""

    macs = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        self.macs += formula(*args, **(kwargs or {}), out_val=result) // 2 if formula else 0
        return result


def of_torch(module: nn.Module, x: Tensor) -> tuple[int, int]:
    """What torch's formulas count in the forward pass, and in the backward pass."""
    with Counter() as forward:
        y = module(x)
    with Counter() as backward:
        y.backward(torch.randn_like(y))
    return forward.macs, backward.macs


FUNCTIONS = {
    "straight through": lambda: Applied(lambda self, x: StraightThrough.apply(self.part(x)), {"part": nn.Linear(6, 6)}),
    "rectified": lambda: Applied(lambda self, x: Rectified.apply(self.part(x)), {"part": nn.Linear(6, 6)}),
    "no gradient": lambda: Applied(lambda self, x: NoGradient.apply(self.part(x)), {"part": nn.Linear(6, 6)}),
    "product": lambda: of_function(Product, 6, 5),
    "recomputing": lambda: of_function(Recomputing, 6, 5),
    "keeping": lambda: of_function(Keeping, 6, 5),
    "conv": lambda: Applied(
        lambda self, x: Convolution.apply(self.part(x).view(2, 1, 6, 6), self.w).flatten(1),
        {"part": nn.Linear(6, 36), "w": weights(4, 1, 3, 3)},
    ),
    "penalty": lambda: Applied(penalised, {"part": nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 5))}),
    "penalty of a conv": lambda: Applied(
        penalised, {"part": nn.Sequential(nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 4, 2), nn.Tanh(), nn.Flatten())}
    ),
}


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_the_backward_pass_executes_is_counted_as_torch_counts_it(name: str, device: str) -> None:
    module, x = FUNCTIONS[name](), torch.randn(2, 6)
    expected = of_torch(module, x)
    network = swatcost.trace(module.to(device), x.to(device))
    assert (macs(network), alarms(network)) == (expected, [])


def test_a_custom_functions_product_is_two_more_in_the_backward_pass() -> None:
    forward, backward = macs(swatcost.trace(of_function(Product, 6, 5), torch.randn(2, 6)))
    assert forward == 2 * 6 * 6 + 2 * 6 * 5
    assert backward == 2 * 6 * 6 + 2 * (2 * 6 * 5)  # the linear layer's input needs no gradient


class ByNumpy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.from_numpy(x.detach().numpy() @ x.detach().numpy().T)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return torch.zeros(2, 6)


class ByKernel(torch.autograd.Function):
    """Its results are memory that torch has allocated and something else has written."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        out = torch.empty_like(x)
        out.numpy()[:] = 1
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return torch.empty_like(grads[0])


class Unknown(Rectified):
    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return torch.linalg.pinv(grads[0]).t()


class Failing(Rectified):
    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        raise RuntimeError("not on such a gradient")


def unwritten(self: Any, x: Tensor) -> Tensor:
    out = torch.empty(2, 6)
    out.numpy()[:] = 1
    return self.part(x) * out


@pytest.mark.parametrize(
    ("function", "listed"),
    [
        (ByNumpy, ["forward of ByNumpy"]),
        (ByKernel, ["forward of ByKernel", "backward of ByKernel"]),
        (Unknown, ["backward of Unknown"]),
        (Failing, ["backward of Failing"]),
    ],
)
@pytest.mark.parametrize("last", [True, False])
def test_what_cannot_be_seen_of_a_function_is_announced(function: Any, listed: list[str], last: bool) -> None:
    module = Applied(lambda self, x: function.apply(self.part(x)), {"part": nn.Linear(6, 6)})
    network = swatcost.trace(nn.Sequential(module, *([] if last else [nn.ReLU()])), torch.randn(2, 6))
    assert alarms(network) == listed
    assert swatcost.estimate(network).assumptions[0].startswith("TOO LOW")


def test_memory_that_no_operation_has_written_is_announced() -> None:
    network = swatcost.trace(Applied(unwritten, {"part": nn.Linear(6, 6)}), torch.randn(2, 6))
    assert alarms(network) == ["kernel outside torch"]


@pytest.mark.parametrize(
    "fill",
    [
        lambda out, x: out.bernoulli_(0.5),
        lambda out, x: out.copy_(x),
        lambda out, x: torch.add(x, 1, out=out),
        lambda out, x: torch.addmm(out, x, torch.eye(6), beta=0),
        lambda out, x: F.rrelu(x, training=True),
        lambda out, x: F.gumbel_softmax(x),
        lambda out, x: out.index_copy_(0, torch.tensor([0, 1]), x),
        lambda out, x: out[:, :3].fill_(1)[:0].sum() + out.normal_(),
    ],
)
def test_memory_that_an_operation_has_written_is_no_alarm(fill: Any) -> None:
    def function(self: Any, x: Tensor) -> Tensor:
        return self.part(x) * fill(torch.empty_like(x), x)  # type: ignore[no-any-return]

    assert not alarms(swatcost.trace(Applied(function, {"part": nn.Linear(6, 6)}), torch.randn(2, 6)))


class Masked(nn.Module):
    """Replaces some rows, which the meta device can do, but not differentiate."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.row = nn.Linear(8, 8), nn.Parameter(torch.zeros(8))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x[torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)] = self.row
        return x


def test_a_step_without_a_loss_has_no_function_of_the_networks() -> None:
    with torch.device("meta"):
        network = swatcost.trace(Masked(), torch.zeros(3, 4, 8), loss="none")
    assert not any(each.products for each in network.uncounted)
