"""Networks that are hard to run: torch's control flow and function transforms, depth, global settings."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan
from torch._higher_order_ops.while_loop import while_loop

import swatcost
from swatcost.reference.run_settings import Settings
from swatcost.simulation.study import study


class Layer(nn.Module):
    """A linear layer 4→4, used as `run` says."""

    def __init__(self, run: Callable[[nn.Module, Tensor], Any]) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.run = run

    def forward(self, x: Tensor) -> Any:
        return self.run(self.linear, x)


def macs(run: Callable[[nn.Module, Tensor], Any], rows: int = 3) -> int:
    """Forward MACs of a batch."""
    network = swatcost.trace(Layer(run), torch.ones(rows, 4))
    return sum(each.product_macs()[0] for each in network.counted_layers)


# One product is 3 rows · 4 · 4 = 48 MACs.
@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (lambda f, x: torch.cond(x.sum() > 0, lambda a: f(f(a)), lambda a: f(a), (x,)), 96),
        (lambda f, x: torch.cond(x.sum() < 0, lambda a: f(f(a)), lambda a: f(a), (x,)), 48),
        (lambda f, x: while_loop(lambda i, a: i < 5, lambda i, a: (i + 1, f(a)), (torch.tensor(0), x))[1], 240),
        (lambda f, x: scan(lambda c, a: (f(c + a), c * a), torch.zeros(4), x)[1], 48),  # 3 steps of one row
        (lambda f, x: torch._higher_order_ops.map(lambda a: f(a).sin(), x), 48),  # likewise
        (lambda f, x: torch.compile(lambda a: f(f(a)))(x), 96),
        (lambda f, x: torch.func.grad(lambda a: f(a).sum())(x), 96),  # forward, and the gradient of x
        (lambda f, x: torch.func.vjp(f, x)[1](torch.ones(3, 4))[0], 96),
        (lambda f, x: torch.func.jacrev(lambda a: f(a).sum(0))(x), 240),  # 48, and 4 gradients
        (lambda f, x: torch.func.vmap(f)(x), 48),
    ],
)
def test_control_flow_and_function_transforms_are_counted(
    run: Callable[[nn.Module, Tensor], Any], expected: int
) -> None:
    assert macs(run) == expected


def test_gradients_pass_through_a_branch() -> None:
    run = lambda f, x: torch.cond(x.sum() > 0, lambda a: f(a), lambda a: a, (x,))  # noqa: E731
    network = swatcost.trace(nn.Sequential(nn.Linear(4, 4), Layer(run)), torch.ones(3, 4))
    # The second layer's weight and input have gradients, the first layer's weight.
    assert [(each.weight_trains, each.input_needs_grad) for each in network.layers][:1] == [(True, False)]


DEEP = """
import torch, swatcost
from torch import nn
class Chain(nn.Module):
    def __init__(self, fails):
        super().__init__(); self.linear = nn.Linear(2, 2); self.fails = fails
    def forward(self, x):
        x = self.linear(x)
        for _ in range({n}): x = x + 1
        if self.fails: raise ValueError("on purpose")
        return x
{what}
print("done")
"""


@pytest.mark.parametrize(
    "what",
    [
        "swatcost.trace(Chain(False), input_shape=(2,))",
        "swatcost.trace(Chain(False), torch.zeros(2, 2))",
        "try: swatcost.trace(Chain(True), input_shape=(2,))\nexcept swatcost.SwatcostError: pass",
        "swatcost.trace(nn.LSTM(4, 4, batch_first=True), input_shape=(3000, 4))",
    ],
    ids=["meta", "real", "raises", "LSTM"],
)
def test_depth_does_not_overflow_the_c_stack(what: str) -> None:
    # A small stack makes a chain of 10,000 nodes as dangerous as one of 100,000 is otherwise.
    code = "import resource; resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, 1 << 20))\n" + DEEP.format(
        n=20_000, what=what
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr[-500:]


def test_global_settings_are_restored() -> None:
    def meddle(f: nn.Module, x: Tensor) -> Tensor:
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.use_deterministic_algorithms(True)
        torch.manual_seed(3)
        return f(x)

    def state() -> tuple[Any, ...]:
        return (
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(),
            torch.get_rng_state().tolist(),
        )

    module = Layer(meddle)
    before = state()
    swatcost.trace(module, torch.ones(3, 4))
    assert state() == before


@pytest.mark.parametrize("dtype", ["qint8", "quint4x2", "bits8"])
def test_a_dtype_without_zeros_is_refused(dtype: str) -> None:
    with pytest.raises(swatcost.SwatcostError, match=f"{dtype}.*float32"):
        swatcost.trace(nn.Linear(4, 4), input_shape=(4,), input_dtype=dtype)


def test_an_input_larger_than_the_memory_is_refused_before_it_is_made() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), Layer(lambda f, x: x * x.sum().item()))  # reads a value: a real run
    with pytest.raises(swatcost.SwatcostError, match="GB; give a smaller shape"):
        swatcost.trace(module, input_shape=(3, 1_000_000, 1_000_000))


def test_a_network_on_the_meta_device_that_reads_values_is_to_be_built_on_the_cpu() -> None:
    with torch.device("meta"):
        module = Layer(lambda f, x: f(x) * x.sum().item())
    with pytest.raises(swatcost.SwatcostError, match="build the network and its inputs on the CPU"):
        swatcost.trace(module, input_shape=(4,))


def test_grids_that_fit_no_machine_are_refused_before_they_are_made() -> None:
    million = [0.5] * 100_000
    with pytest.raises(swatcost.SwatcostError, match="10,000,000,000 combinations"):
        swatcost.sweep("resnet18", weights=million, acts=million)
    with pytest.raises(swatcost.SwatcostError, match="at most 1,000,000"):
        study(["resnet18"], weights=million, acts=million)
    with pytest.raises(swatcost.SwatcostError, match="2,000,000 simulations"):
        study(["resnet18"], weights=[0.5, 0.6], seeds=1_000_000)


@pytest.mark.parametrize(
    "given", [{"seed": 2**64}, {"seed": -1}, {"learning_rate": 1e308}, {"momentum": float("nan")}, {"steps": 10**30}]
)
def test_numbers_of_a_run_have_bounds(given: dict[str, Any]) -> None:
    with pytest.raises(swatcost.SwatcostError, match=f"{next(iter(given))} .*: give"):
        Settings(**{"model": "cifar_resnet18", "steps": 1, **given})


def test_nesting_deeper_than_python_allows_is_refused() -> None:
    module: nn.Module = nn.Linear(4, 4)
    inputs: Any = torch.zeros(1, 4)
    for _ in range(3000):
        module, inputs = nn.Sequential(module), [inputs]
    with pytest.raises(swatcost.SwatcostError, match="nested too deeply"):
        swatcost.trace(module, input_shape=(4,))
    with pytest.raises(swatcost.SwatcostError, match="nested too deeply"):
        swatcost.trace(nn.Linear(4, 4), inputs)
