"""Networks that draw random numbers or read values: whether two runs differ is said, and each trace is reproducible."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import swatcost
from swatcost.counting import EXACT, Counting
from swatcost.network import Network, read_network
from swatcost.report.sheet import Caveat
from swatcost.sparsity import SparsityPlan
from swatcost.tracing import step

GENERATOR = np.random.default_rng()  # a global variable of the file that defines the network


class Stack(nn.Module):
    """Eight linear layers 8→8, 64 MACs per sample each; `runs` decides for each whether it runs."""

    def __init__(self, runs: Callable[[Any, Tensor], Any], **held: Any) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(8))
        self.runs = runs
        self.__dict__.update(held)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            if self.runs(self, x):
                x = layer(x)
        return x


class Module(nn.Module):
    """Two linear layers, used as `run` says."""

    def __init__(self, run: Callable[[nn.Module, nn.Module, Tensor], Any]) -> None:
        super().__init__()
        self.first, self.second, self.run = nn.Linear(8, 8), nn.Linear(8, 8), run

    def forward(self, x: Tensor) -> Any:
        return self.run(self.first, self.second, x)


def said(network: Network) -> list[str]:
    return [note for note in swatcost.estimate(network).assumptions if "forward pass " in note]


def python_draws(seed: int) -> Callable[[], float]:
    return random.Random(seed).random


def numpy_draws(seed: int) -> Callable[[], float]:
    return np.random.RandomState(seed).rand


def numpys_new_draws(seed: int) -> Callable[[], float]:
    return np.random.Generator(np.random.PCG64(seed)).random


def torch_draws(seed: int) -> Callable[[], float]:
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.rand(1, generator=generator).item()


# The right counts: 64 MACs per sample for each number below one half among the first eight of each seed from 0 to 7.
@pytest.mark.parametrize(
    ("draws", "runs", "held"),
    [
        (python_draws, lambda m, x: random.random() < 0.5, {}),
        (python_draws, lambda m, x: m.own.random() < 0.5, {"own": random.Random()}),
        (numpy_draws, lambda m, x: np.random.rand() < 0.5, {}),
        (numpy_draws, lambda m, x: m.own[0].rand() < 0.5, {"own": [np.random.RandomState()]}),
        (numpys_new_draws, lambda m, x: m.own.random() < 0.5, {"own": np.random.default_rng(5)}),
        (numpys_new_draws, lambda m, x: GENERATOR.random() < 0.5, {}),
        (torch_draws, lambda m, x: torch.rand(1) < 0.5, {}),
        (torch_draws, lambda m, x: torch.rand(1).item() < 0.5, {}),
        (torch_draws, lambda m, x: torch.rand(1).tolist()[0] < 0.5, {}),
        (torch_draws, lambda m, x: torch.rand(1).numpy()[0] < 0.5, {}),
        (torch_draws, lambda m, x: np.asarray(torch.rand(1))[0] < 0.5, {}),
        (torch_draws, lambda m, x: len((torch.rand(1) < 0.5).nonzero()), {}),
        (torch_draws, lambda m, x: torch.rand(1).masked_select(torch.tensor([True])) < 0.5, {}),
        (torch_draws, lambda m, x: torch.rand(1, device="cpu") < 0.5, {}),  # runs on the meta device
        (torch_draws, lambda m, x: torch.rand(1, generator=m.own) < 0.5, {"own": torch.Generator().manual_seed(9)}),
    ],
)
@pytest.mark.parametrize("given", ["shape", "examples"])
def test_runs_that_draw_lots_are_compared(
    given: str, draws: Callable[[int], Callable[[], float]], runs: Callable[[Any, Tensor], Any], held: dict[str, Any]
) -> None:
    network = trace(Stack(runs, **held), given)
    expected = [64 * sum(draw() < 0.5 for _ in range(8)) for draw in map(draws, range(8))]
    assert forward(network) == expected[0]
    assert network.variation is not None
    assert network.variation.runs == 8
    assert [each / network.batch_size for each in network.variation.forward_macs] == [min(expected), max(expected)]
    (note,) = said(network)
    assert isinstance(note, Caveat)
    assert f"{min(expected)} MAC to {max(expected)} MAC forward" in note


def trace(module: nn.Module, given: str) -> Network:
    return swatcost.trace(module, input_shape=(8,)) if given == "shape" else swatcost.trace(module, torch.ones(3, 8))


def forward(network: Network) -> float:
    return sum(each.forward_macs for each in network.layers) / network.batch_size


def routed(first: nn.Module, second: nn.Module, x: Tensor) -> Tensor:
    """A router sends each sample to one of two experts; together they have all samples."""
    chosen = first(x).argmax(-1) % 2
    out = torch.zeros_like(x)
    for place in range(2):
        (rows,) = torch.where(chosen == place)
        out[rows] = second(x[rows])
    return out


def skipping(first: nn.Module, second: nn.Module, x: Tensor) -> Tensor:
    return second(first(x)[x.sum(-1) > 0])


def narrower(first: nn.Module, second: nn.Module, x: Tensor) -> Tensor:
    width = random.randint(1, 8)
    return F.linear(x, first.weight[:width])  # type: ignore[arg-type, index]


@pytest.mark.parametrize(
    "run",
    [
        narrower,
        skipping,
        lambda f, g, x: g(f(x)) if x.sum() > 0 else f(x),
        lambda f, g, x: g(f(x)) if x.mean().item() > 0 else f(x),
        lambda f, g, x: torch.cond(x.sum() > 0, lambda a: g(f(a)), lambda a: f(a), (x,)),
        lambda f, g, x: (f if random.random() < 0.5 else nn.Identity())(x) + g(x),
        lambda f, g, x: [f, lambda a: g(f(a))][int(torch.randint(2, ()))](x),
    ],
)
@pytest.mark.parametrize("given", ["shape", "examples"])
def test_other_work_that_differs_is_said(given: str, run: Any) -> None:
    network = trace(Module(run), given)
    assert network.variation is not None
    assert network.variation.differs
    assert [type(note) for note in said(network)] == [Caveat]


def test_a_run_without_work_is_not_taken_for_a_network_without() -> None:
    network = trace(Module(lambda f, g, x: f(x) if x.sum() > 0 else x), "shape")
    with pytest.raises(swatcost.SwatcostError, match="example inputs"):
        swatcost.estimate(network)


def test_the_range_is_of_what_is_counted() -> None:
    network = trace(Stack(lambda m, x: x.sum() > 0), "examples")
    exact = Counting(convention=EXACT).total(network, SparsityPlan.dense(network))
    assert sum(each.training_macs for each in network.layers) == exact.training.dense * network.batch_size
    assert network.variation is not None
    assert network.variation.training_macs[0] <= exact.training.dense * 3 <= network.variation.training_macs[1]


@pytest.mark.parametrize("given", ["shape", "examples"])
def test_values_that_change_no_count_are_no_caveat(given: str) -> None:
    network = trace(Module(routed), given)
    assert network.variation is not None
    assert not network.variation.differs
    (note,) = said(network)
    assert not isinstance(note, Caveat)
    assert "runs with others gave the same MACs" in note


def drop_path(first: nn.Module, second: nn.Module, x: Tensor) -> Tensor:
    return x + first(x) * x.new_empty((x.shape[0], 1)).bernoulli_(0.9) / 0.9


@pytest.mark.parametrize(
    "run",
    [
        drop_path,
        lambda f, g, x: F.dropout(f(x)),
        lambda f, g, x: F.rrelu(f(x), training=True),
        lambda f, g, x: F.gumbel_softmax(f(x), hard=True),
        lambda f, g, x: g(f(x) + torch.randn_like(x)),
        lambda f, g, x: f(x[torch.randperm(x.shape[0], device=x.device)]),
        lambda f, g, x: F.scaled_dot_product_attention(f(x)[None], g(x)[None], x[None], dropout_p=0.1),
        lambda f, g, x: f(x).masked_fill(x > 0, 0.0) + (x > 0) * g(x),
    ],
)
@pytest.mark.parametrize("given", ["shape", "examples"])
def test_noise_that_decides_nothing_runs_once(given: str, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ran, original = [], step.traced_step

    def counted(*args: Any, **kwargs: Any) -> Any:
        ran.append(args[5].autocast)
        return original(*args, **kwargs)

    monkeypatch.setattr(step, "traced_step", counted)
    network = trace(Module(run), given)
    assert network.variation is None
    assert said(network) == []
    assert ran == (["", "amp"] if given == "shape" else [""])  # from a shape also once under autocast, for its tensors


def test_the_same_call_gives_the_same_count_and_leaves_random_states_alone() -> None:
    own = np.random.default_rng(1), random.Random(2), torch.Generator().manual_seed(3)
    drawn: list[Callable[[], float]] = [
        random.random, np.random.rand, lambda: torch.rand(1).item(), own[0].random, own[1].random,
        lambda: torch.rand(1, generator=own[2]).item(),
    ]  # fmt: skip
    module = Stack(lambda m, x: sum(draw() for draw in drawn) < 3, own=own)

    def states() -> str:
        numpys = np.random.get_state(legacy=False)
        return repr((
            random.getstate(), numpys["state"]["key"].tolist(), numpys["state"]["pos"],  # type: ignore[index, call-overload]
            torch.get_rng_state().tolist(), own[0].bit_generator.state, own[1].getstate(), own[2].get_state().tolist(),
        ))  # fmt: skip

    found = []
    for seed in range(3):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        before = states()
        found.append(swatcost.trace(module, torch.ones(3, 8)))
        assert states() == before
        for draw in drawn:
            draw()
    assert found[0] == found[1] == found[2]


def test_a_loop_that_would_not_end_on_other_values_ends() -> None:
    def loop(first: nn.Module, second: nn.Module, x: Tensor) -> Tensor:
        while x.abs().max() > 0:
            x = x * 1
        return first(x)

    network = trace(Module(loop), "shape")
    assert network.variation is not None
    assert network.variation.runs == 1
    assert ["it did not run with others" in note for note in said(network)] == [True]


def test_a_saved_trace_keeps_the_runs(tmp_path: Path) -> None:
    path = tmp_path / "stack.json"
    network = trace(Stack(lambda m, x: random.random() < 0.5), "shape")
    network.save(path)
    assert read_network(path) == network
    content = json.loads(path.read_text())
    del content["variation"], content["unlisted_saves"]  # as an older version wrote it
    path.write_text(json.dumps(content))
    assert read_network(path).variation is None
    content["variation"] = {"runs": 8, "draws": True, "reads": False, "forward_macs": [5, 3], "training_macs": [5, 5]}
    path.write_text(json.dumps(content))
    with pytest.raises(swatcost.SwatcostError, match="variation"):
        read_network(path)


@pytest.mark.parametrize(
    ("run", "places"),
    [
        (lambda f, g, x: torch.func.grad(lambda a: f(a).sin().sum())(x), ("first", "Module")),
        (lambda f, g, x: torch.func.vjp(f, x)[1](x)[0], ("first", "Module")),
        (lambda f, g, x: torch.func.jacrev(lambda a: f(a).sum(0))(x), ("first", "Module")),
        (lambda f, g, x: f(torch.func.grad(lambda a: (a * a).sum())(x)), ()),  # nothing there needs a gradient
        (lambda f, g, x: torch.func.grad(lambda a: a.sum())(f(x)), ()),  # a sum saves no tensor
        (lambda f, g, x: torch.func.vmap(f)(x), ()),
        (lambda f, g, x: g(f(x)), ()),
    ],
)
def test_function_transforms_that_save_tensors_are_said(run: Any, places: tuple[str, ...]) -> None:
    network = trace(Module(run), "examples")
    assert set(network.unlisted_saves) <= set(places)
    assert bool(network.unlisted_saves) == bool(places)
    notes = [note for note in swatcost.estimate(network).assumptions if "Saved tensors are TOO LOW" in note]
    assert [type(note) for note in notes] == [Caveat] * bool(places)
