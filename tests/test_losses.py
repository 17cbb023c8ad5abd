"""The loss that a step ends in: which one is assumed, a user's own, and what is said of one that fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from torch import Tensor, nn

import swatcost
from swatcost.cli import cli
from swatcost.common.errors import SwatcostError
from swatcost.memory.dense_step import training_memory
from swatcost.network.conditions import IN_LOSS
from swatcost.reference.saved_bytes import saved_bytes

from .cases import CASES, Applied, Case, macs, weights
from .networks import BATCH, NETWORKS
from .random_steps import random_step
from .test_peak import KINDS

pytestmark = pytest.mark.filterwarnings("ignore")


class Returned(NamedTuple):
    """As a library's output may be."""

    loss: Tensor
    logits: Tensor


@dataclass
class Output:
    """The same as a dataclass."""

    loss: Tensor | None
    logits: Tensor
    hidden: Tensor | None = None


def classifier(function: Callable[..., Any]) -> nn.Module:
    """From 10 numbers, through a hidden layer of 20, to 6 classes."""
    return Applied(lambda self, x: function(self.a(x), self.b), {"a": nn.Linear(10, 20), "b": nn.Linear(20, 6)})


def scored(h: Tensor, head: nn.Module, kind: Callable[..., Any]) -> Any:
    y = head(h.relu())
    return kind(loss=y.square().mean(), logits=y)


# What a network returns, and the loss that is assumed.
ASSUMED: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str]] = {
    "classes": (lambda: classifier(lambda h, b: b(h)), (10,), "cross-entropy"),
    "tokens": (lambda: nn.Sequential(nn.Embedding(50, 8), nn.Linear(8, 50)), (7,), "cross-entropy"),
    "sequences of features": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (7, 8), "none"),
    "images": (lambda: nn.Conv2d(3, 5, 3), (3, 8, 8), "none"),
    "one number": (lambda: classifier(lambda h, b: b(h)[:, :1]), (10,), "none"),
    "one dimension": (lambda: classifier(lambda h, b: b(h)[:, 0]), (10,), "none"),
    "a scalar": (lambda: classifier(lambda h, b: b(h).square().mean()), (10,), "its own"),
    "a complex scalar": (lambda: classifier(lambda h, b: torch.complex(b(h), b(h)).sum()), (10,), "none"),
    "two heads": (lambda: classifier(lambda h, b: (b(h), b(h.tanh()))), (10,), "cross-entropy"),
    "classes and an image": (lambda: classifier(lambda h, b: (b(h), h.view(-1, 1, 4, 5))), (10,), "none"),
    "a mapping": (lambda: classifier(partial(scored, kind=dict)), (10,), "its own"),
    "a named tuple": (lambda: classifier(partial(scored, kind=Returned)), (10,), "its own"),
    "a dataclass": (lambda: classifier(partial(scored, kind=Output)), (10,), "its own"),
    "logits only": (
        lambda: classifier(lambda h, b: Output(None, b(h), h.view(-1, 4, 5).cumsum(1))), (10,), "cross-entropy"
    ),
    "nothing that trains": (lambda: classifier(lambda h, b: b(h).detach()), (10,), "none"),
    "a precision without arithmetic": (lambda: classifier(lambda h, b: b(h).to(torch.float8_e4m3fn)), (10,), "none"),
}  # fmt: skip


@pytest.mark.parametrize("name", ASSUMED)
def test_the_assumed_loss(name: str) -> None:
    build, shape, expected = ASSUMED[name]
    given = torch.zeros(BATCH, *shape, dtype=torch.int64 if name == "tokens" else torch.float32)
    network = swatcost.trace(build(), given)
    assert (network.conditions.loss, network.conditions.loss_is_assumed) == (expected, True)
    assert macs(network) == macs(swatcost.trace(build(), given, loss="none"))


def _built() -> dict[str, Callable[[], tuple[nn.Module, tuple[Any, ...], int]]]:
    def of_case(case: Case) -> tuple[nn.Module, tuple[Any, ...], int]:
        return case.build(), case.inputs(), case.batch_size

    def of_shape(build: Callable[[], nn.Module], shape: tuple[int, ...]) -> tuple[nn.Module, tuple[Any, ...], int]:
        return build(), (torch.zeros(5, *shape),), 5

    steps = {f"random {seed}": random_step(seed) for seed in range(20)} | KINDS
    return {
        **{name: (lambda made=made: (*made(), BATCH)) for name, made in NETWORKS.items()},
        **{case.title: partial(of_case, case) for case in CASES},
        **{name: partial(of_shape, build, shape) for name, (build, shape, _) in steps.items()},
    }


BUILT = _built()


@pytest.mark.parametrize("name", BUILT)
def test_flops_do_not_depend_on_the_assumed_loss(name: str) -> None:
    """Nor does what is listed as uncounted: of several outputs, heads that no loss reaches, detached ones."""
    module, inputs, batch = BUILT[name]()
    without, assumed = (swatcost.trace(module, inputs, batch_size=batch, loss=loss) for loss in ("none", None))
    assert macs(assumed) == macs(without)
    assert assumed.uncounted == without.uncounted


def focal(output: Tensor) -> Tensor:
    """Lin et al. 2017, with γ = 2."""
    labels = torch.zeros(len(output), dtype=torch.int64, device=output.device)
    one = F.cross_entropy(output, labels, reduction="none")
    return ((1 - torch.exp(-one)) ** 2 * one).mean()


@pytest.mark.parametrize("loss", ["mse", "cross-entropy", focal])
def test_saved_bytes_of_a_loss_to_the_byte(loss: Any) -> None:
    module, x = classifier(lambda h, b: b(h.relu())), torch.randn(BATCH, 10)
    labels = torch.zeros(BATCH, dtype=torch.int64)
    functions: dict[str, Callable[[Tensor], Tensor]] = {
        "mse": lambda y: F.mse_loss(y, torch.zeros_like(y)), "cross-entropy": lambda y: F.cross_entropy(y, labels)
    }  # fmt: skip
    network = swatcost.trace(module, x, loss=loss)
    function = functions[loss] if isinstance(loss, str) else loss
    measured = saved_bytes(module, lambda: function(module(x)))
    assert training_memory(network, batch_size=BATCH).saved_bytes == measured
    assert network.conditions.loss == (loss if isinstance(loss, str) else "focal")


def contrastive(output: Tensor) -> Tensor:
    z = F.normalize(output)
    return F.cross_entropy(z @ z.t(), torch.arange(len(z)))


def test_products_in_a_loss_are_layers_of_their_own() -> None:
    """Between 11 samples of 6 numbers."""
    module = classifier(lambda h, b: b(h))
    with_loss, without = (swatcost.trace(module, input_shape=(10,), loss=loss) for loss in (contrastive, "none"))
    assert [each.name for each in with_loss.layers if each.name == IN_LOSS] == [IN_LOSS]
    product = 11 * 6 * 11
    assert macs(with_loss) == (macs(without)[0] + product, macs(without)[1] + 2 * product)


class Proxies(nn.Module):
    """A loss with parameters: similarity to 9 proxies, in a space of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.proxies = nn.Linear(6, 4), weights(9, 4)

    def forward(self, output: Tensor) -> Tensor:
        return F.cross_entropy(self.into(output) @ self.proxies.t(), torch.zeros(len(output), dtype=torch.int64))


def test_a_loss_with_parameters_is_left_as_it_was() -> None:
    """Its parameters are not the network's, whatever it does with them; what it saves, it saves itself."""
    loss, module = Proxies(), classifier(lambda h, b: b(h))
    loss.proxies.grad = torch.ones(9, 4)
    network = swatcost.trace(module, input_shape=(10,), loss=loss)
    assert [each.name for each in network.parameters] == ["a.weight", "a.bias", "b.weight", "b.bias"]
    assert [each.name for each in network.layers] == ["a", "b", IN_LOSS, IN_LOSS]
    assert network.conditions.loss == "Proxies"
    assert {each.held_by for each in network.saved} == {"a", "b", IN_LOSS}
    assert loss.proxies.grad is not None
    assert torch.equal(loss.proxies.grad, torch.ones(9, 4))
    assert loss.into.weight.grad is None


def raising(output: Tensor) -> Tensor:
    raise KeyError("labels")


def test_a_loss_on_another_device_is_run_for_real() -> None:
    """A loss may hold tensors, as of class weights, which the meta device cannot mix with its own."""
    held = torch.ones(6, 6)
    module = classifier(lambda h, b: b(h))
    network = swatcost.trace(module, input_shape=(10,), loss=lambda output: (output @ held).square().sum())
    assert [each.name for each in network.layers if each.name == IN_LOSS] == [IN_LOSS]


@pytest.mark.parametrize(
    ("loss", "why"),
    [
        (raising, "^loss raising raised KeyError: 'labels'; it is called with what the network returns"),
        (nn.CrossEntropyLoss(), "^loss CrossEntropyLoss raised TypeError: .*'target'"),
        (lambda output: output.sum(0), r"^loss <lambda> returned a tensor of \(6,\): let it return one real number"),
        (lambda output: output.sum().detach(), "returned a number of torch.float32 without a gradient"),
        (lambda output: torch.complex(output, output).sum(), "returned a number of torch.complex64"),
        (lambda output: 3.0, "returned a float"),
        (3, "^loss 3: give a name, or a function"),
        ("l2", "^loss 'l2': give none, mse, cross-entropy, or FILE:factory"),
    ],
)
@pytest.mark.parametrize("by_shape", [True, False])
def test_a_loss_that_fails_is_named(loss: Any, why: str, by_shape: bool) -> None:
    module = classifier(lambda h, b: b(h))
    inputs: dict[str, Any] = {"input_shape": (10,)} if by_shape else {"example_inputs": torch.zeros(BATCH, 10)}
    with pytest.raises(SwatcostError, match=why) as raised:
        swatcost.trace(module, loss=loss, **inputs)
    assert "\n" not in str(raised.value)
    assert all(each.grad is None for each in module.parameters())


@pytest.mark.parametrize("name", ["cross-entropy", "mse"])
def test_a_loss_that_was_asked_for_does_not_fall_back(name: str) -> None:
    module = classifier(lambda h, b: torch.complex(b(h), b(h)))
    with pytest.raises(SwatcostError, match=f"^loss {name}: an output of"):
        swatcost.trace(module, input_shape=(10,), loss=name)


LOSSES = """
import torch
import torch.nn.functional as F

def focal():
    def loss(output):
        one = F.cross_entropy(output, torch.zeros(len(output), dtype=torch.int64), reduction="none")
        return ((1 - torch.exp(-one)) ** 2 * one).mean()
    return loss

def bad():
    def loss(output):
        raise ValueError("no labels")
    return loss

def nothing():
    return None
"""


def test_a_loss_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes by the name that it was asked for."""
    (tmp_path / "losses.py").write_text(LOSSES)
    monkeypatch.chdir(tmp_path)
    network = swatcost.load("cifar_resnet18", loss="losses.py:focal")
    assert network.conditions.loss == "losses.py:focal"
    network.save("trace.json")
    assert swatcost.load("trace.json", loss="losses.py:focal") == network
    run = CliRunner()
    assert run.invoke(cli, ["memory", "cifar_resnet18", "--loss", "losses.py:focal"]).exit_code == 0
    for name, why in (("bad", "loss losses.py:bad raised ValueError: no labels"), ("nothing", "returned a NoneType")):
        done = run.invoke(cli, ["memory", "cifar_resnet18", "--loss", f"losses.py:{name}"])
        assert isinstance(done.exception, SwatcostError)
        assert why in str(done.exception)


def test_a_loss_of_the_same_name_in_another_folder_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traces are cached, by the place of the loss's file, too."""
    monkeypatch.setattr("sys.path", ["/"])  # as of a command, which has no place for the working directory
    monkeypatch.setenv("SWATCOST_CACHE_DIR", str(tmp_path / "cache"))
    layers = []
    for folder, body in (("one", "output.square().sum()"), ("two", "(output @ output.t()).sum()")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "own.py").write_text(f"def loss():\n    return lambda output: {body}\n")
        monkeypatch.chdir(tmp_path / folder)
        layers.append(len(swatcost.load("cifar_resnet18", loss="own.py:loss").layers))
    assert layers[1] == layers[0] + 1  # the product of outputs
