"""What if modules were checkpointed: against the same network really written with torch.utils.checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import swatcost
from swatcost.common.errors import SwatcostError
from swatcost.loading.load import load, with_conditions
from swatcost.memory.dense_step import training_memory

from .cases import Applied, frozen, macs
from .measured import alive_peak, measured_macs, measured_saved
from .networks import BATCH, NETWORKS, Made

pytestmark = pytest.mark.filterwarnings("ignore")


class Checkpointed(nn.Module):
    """A module whose calls are checkpointed; it has the attributes of that module."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return checkpoint(self.inside, *args, use_reentrant=False, **kwargs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inside"), name)


def written(made: Callable[[], Made], names: Sequence[str]) -> Callable[[], Made]:
    """The network with these modules really checkpointed."""

    def build() -> Made:
        module, inputs = made()
        for name in names:
            module.set_submodule(name, Checkpointed(module.get_submodule(name)))
        return module, inputs

    return build


def is_as_written(made: Callable[[], Made], patterns: Sequence[str], names: Sequence[str], autocast: str = "") -> None:
    """Checks a trace with these patterns against the trace of the network with these modules checkpointed, and torch.

    Equal to the byte and to the MAC: what autograd saves, the peak, and the products, recomputed ones included.
    """
    how: dict[str, Any] = {"loss": "cross-entropy", "autocast": autocast or None, "batch_size": BATCH}
    module, inputs = made()
    asked = swatcost.trace(module, inputs, checkpoint=patterns, **how)
    real = written(made, names)
    module, inputs = real()
    other = swatcost.trace(module, inputs, **how)
    assert set(asked.conditions.checkpointed) == set(names)
    assert asked.storages == other.storages
    assert asked.timeline == other.timeline
    assert macs(asked) == macs(other) == measured_macs(real, "cross-entropy", autocast)
    step = training_memory(asked, batch_size=BATCH, optimizer="momentum", precision=autocast or "fp32")
    assert step.saved_bytes == measured_saved(real, "cross-entropy", autocast)
    assert step.peak.bytes == alive_peak(real, "momentum", "cross-entropy", autocast)


def numbered(pattern: str, *numbers: int) -> list[str]:
    return [pattern.format(number) for number in numbers]


# The patterns, and the modules by hand: every block, every second, and single layers or a whole stage.
ASKED: dict[str, list[tuple[list[str], list[str]]]] = {
    "resnet": [
        (["layer?.?"], [f"layer{stage}.{place}" for stage in (1, 2, 3, 4) for place in (0, 1)]),
        (["layer?.1"], numbered("layer{}.1", 1, 2, 3, 4)),
        (["layer2", "*.conv2"], ["layer2", *(f"layer{n}.{place}.conv2" for n in (1, 3, 4) for place in (0, 1))]),
    ],
    "vit": [
        (["blocks.*"], numbered("blocks.{}", 0, 1)),
        (["blocks.0"], ["blocks.0"]),
        (["blocks.*.mlp", "norm"], [*numbered("blocks.{}.mlp", 0, 1), "norm"]),
    ],
    "gpt": [
        (["blocks.*"], numbered("blocks.{}", 0, 1, 2)),
        (["blocks.[02]"], numbered("blocks.{}", 0, 2)),
        (["*.attention", "*.norm"],
         [*numbered("blocks.{}.attention", 0, 1, 2), *numbered("blocks.{}.norm", 0, 1, 2)]),
    ],
    "llama": [
        (["layers.*"], numbered("layers.{}", 0, 1)),
        (["layers.1"], ["layers.1"]),
        (["*.attention", "*.down"], [*numbered("layers.{}.attention", 0, 1), *numbered("layers.{}.down", 0, 1)]),
    ],
    "encoder and decoder": [
        (["*.layers.?"], [f"transformer.{side}.layers.{place}" for side in ("encoder", "decoder") for place in (0, 1)]),
        (["*.layers.1"], ["transformer.encoder.layers.1", "transformer.decoder.layers.1"]),
        (["transformer.encoder", "*.multihead_attn"],
         ["transformer.encoder", *numbered("transformer.decoder.layers.{}.multihead_attn", 0, 1)]),
    ],
}  # fmt: skip


@pytest.mark.parametrize("autocast", ["", "amp-cpu"])
@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("name", ASKED)
def test_five_networks_and_three_patterns(name: str, place: int, autocast: str) -> None:
    is_as_written(NETWORKS[name], *ASKED[name][place], autocast)


class Both(NamedTuple):
    """Two tensors, as a module's result."""

    first: Tensor
    second: Tensor


def split(self: Any, x: Tensor) -> Both:
    return Both(self.a(x).tanh(), self.b(x).sigmoid())


def scaled(self: Any, x: Tensor, *, factor: float = 1.0, shift: Tensor | None = None) -> Tensor:
    return self.b(self.a(x).relu() * factor) + (0 if shift is None else shift)  # type: ignore[no-any-return]


class Named(nn.Module):
    """A module that is called with keyword arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(20, 30), nn.Linear(30, 20)

    forward = scaled


def twice(self: Any, x: Tensor) -> Tensor:
    return self.part(self.part(x))  # type: ignore[no-any-return]


def with_names(self: Any, x: Tensor) -> Tensor:
    return self.part(x, factor=2.0, shift=self.other(x))  # type: ignore[no-any-return]


def of_two(self: Any, x: Tensor) -> Tensor:
    both = self.part(x)
    return self.other(both.first * both.second)  # type: ignore[no-any-return]


def itself_checkpointed(self: Any, x: Tensor) -> Tensor:
    return self.b(checkpoint(self.a, x, use_reentrant=False)).tanh()  # type: ignore[no-any-return]


def hooked() -> nn.Module:
    """A block with a hook of its own, which a recomputation runs again."""
    block = mlp()
    block.register_forward_hook(lambda module, args, result: F.linear(result, module[0].weight[:20]))
    return block


def mlp(*more: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(20, 30), nn.GELU(), *more, nn.Linear(30, 20))


def in_evaluation(block: nn.Module) -> nn.Module:
    """A network in training mode, but for this block."""
    network = nn.Sequential(nn.Linear(20, 20), block, nn.Linear(20, 20))
    block.eval()
    return network


KINDS: dict[str, tuple[Callable[[], nn.Module], list[str], list[str]]] = {
    "nested matches": (
        lambda: nn.Sequential(nn.Linear(20, 20), nn.Sequential(mlp(), mlp())), ["1*"], ["1"],
    ),
    "used twice": (lambda: Applied(twice, {"part": mlp()}), ["part"], ["part"]),
    "keyword arguments": (
        lambda: Applied(with_names, {"part": Named(), "other": nn.Linear(20, 20)}), ["part"], ["part"],
    ),
    "two results": (
        lambda: Applied(of_two, {"part": Applied(split, {"a": nn.Linear(20, 30), "b": nn.Linear(20, 30)}),
                                 "other": nn.Linear(30, 9)}), ["part"], ["part"],
    ),
    "dropout": (lambda: nn.Sequential(mlp(nn.Dropout(0.3)), mlp(nn.Dropout(0.3))), ["*"], ["0", "1"]),
    "frozen": (lambda: nn.Sequential(mlp(), frozen(mlp()), mlp()), ["1", "2"], ["1", "2"]),
    "frozen from the start": (lambda: nn.Sequential(frozen(mlp()), mlp()), ["*"], ["0", "1"]),
    "in evaluation mode": (
        lambda: in_evaluation(nn.Sequential(nn.Linear(20, 20), nn.BatchNorm1d(20), nn.Dropout())), ["1"], ["1"],
    ),
    "batch norm": (
        lambda: nn.Sequential(nn.Linear(20, 20), nn.Sequential(nn.BatchNorm1d(20), nn.ReLU(True), nn.Linear(20, 5))),
        ["1"], ["1"],
    ),
    "checkpointed by the network, too": (
        lambda: nn.Sequential(Applied(itself_checkpointed, {"a": mlp(), "b": nn.Linear(20, 20)}), nn.Linear(20, 20)),
        ["0"], ["0"],
    ),
    "a hook of its own": (lambda: nn.Sequential(hooked(), nn.Linear(20, 20)), ["0"], ["0"]),
    "the last layer": (lambda: nn.Sequential(nn.Linear(20, 20), nn.Linear(20, 7)), ["1"], ["1"]),
}  # fmt: skip


@pytest.mark.parametrize("autocast", ["", "amp-cpu"])
@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_modules(kind: str, autocast: str) -> None:
    build, patterns, names = KINDS[kind]
    is_as_written(lambda: (build(), (torch.randn(BATCH, 20),)), patterns, names, autocast)


def test_a_list_that_grows_after_the_call() -> None:
    """As in a DenseNet, whose layers are given a list of all results before them."""

    class Joined(nn.Module):
        def __init__(self, width: int, copies: bool) -> None:
            super().__init__()
            self.linear, self.copies = nn.Linear(width, 8), copies

        def forward(self, before: list[Tensor]) -> Tensor:
            if self.copies:
                return checkpoint(self.run, list(before), use_reentrant=False)
            return self.run(before)

        def run(self, before: list[Tensor]) -> Tensor:
            return F.relu(self.linear(torch.cat(before, 1)))

    def dense(copies: bool) -> nn.Module:
        def forward(self: Any, x: Tensor) -> Tensor:
            results = [x]
            for each in (self.first, self.second, self.third):
                results.append(each(results))
            return torch.cat(results, 1)

        names = ("first", "second", "third")
        return Applied(forward, {name: Joined(20 + 8 * place, copies) for place, name in enumerate(names)})

    asked = swatcost.trace(dense(False), input_shape=(20,), checkpoint=["first", "second", "third"])
    really = swatcost.trace(dense(True), input_shape=(20,))
    assert (asked.timeline, asked.saved) == (really.timeline, really.saved)
    assert macs(asked) == macs(really)
    assert macs(asked)[1] > macs(swatcost.trace(dense(False), input_shape=(20,)))[1]


def test_one_module_under_two_names() -> None:
    """It is checkpointed under either."""
    part = mlp()
    network = Applied(lambda self, x: self.second(self.first(x)), {"first": part, "second": part})
    by_either = [swatcost.trace(network, input_shape=(20,), checkpoint=name) for name in ("first", "second")]
    assert by_either[0].timeline == by_either[1].timeline
    assert macs(by_either[0]) == macs(by_either[1])
    assert macs(by_either[0])[1] > macs(swatcost.trace(network, input_shape=(20,)))[1]


def test_a_compiled_module() -> None:
    network = nn.Sequential(mlp(), mlp())
    expected = swatcost.trace(network, input_shape=(20,), checkpoint="0")
    network[0].compile()
    assert swatcost.trace(network, input_shape=(20,), checkpoint="0") == expected


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("block.*", r"checkpoint 'block\.\*': no module matches: "),
        ("blocks", r"checkpoint blocks: it has no forward pass; give what it holds, blocks\.\*"),
        ("head", "checkpoint 'head': the forward pass calls none of the modules that match"),
    ],
)
def test_patterns_that_mean_nothing(pattern: str, why: str) -> None:
    parts = {"blocks": nn.ModuleList([mlp()]), "head": nn.Linear(20, 20)}
    network = Applied(lambda self, x: F.linear(self.blocks[0](x), self.head.weight), parts)
    with pytest.raises(SwatcostError, match=why):
        swatcost.trace(network, input_shape=(20,), checkpoint=pattern)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"checkpoint": 5}, "checkpoint 5: give a pattern of module names, such as 'layer1.*', or several"),
        ({"checkpoint": True}, "checkpoint True: give a pattern"),
        ({"checkpoint": b"0"}, "checkpoint b'0': give a pattern"),
        ({"checkpoint": ["0", None]}, "checkpoint ['0', None]: give a pattern"),
        ({"offload": "no"}, "offload 'no': give True or False"),
        ({"offload": 1}, "offload 1: give True or False"),
        ({"autocast": ["amp"]}, "autocast ['amp']: did you mean amp?"),
        ({"autocast": 0}, "autocast 0: choose from"),
    ],
)
def test_conditions_that_are_none_are_refused(given: dict[str, Any], why: str) -> None:
    """By everything that takes them, in one line."""
    module = nn.Sequential(mlp(), mlp())
    network = swatcost.trace(module, input_shape=(20,))
    for refusing in (
        lambda: swatcost.trace(module, input_shape=(20,), **given),
        lambda: load("resnet18", **given),
        lambda: with_conditions(network, **given),
    ):
        with pytest.raises(SwatcostError) as refused:
            refusing()
        assert why in str(refused.value) or "was traced in its own precision" in str(refused.value)


@pytest.mark.parametrize("loss", [nn.MSELoss(), 5, b"mse", True])
def test_a_network_that_is_loaded_takes_its_loss_by_name(loss: Any) -> None:
    with pytest.raises(SwatcostError, match="give resnet18 a loss by name, or FILE:factory; functions are for modules"):
        load("resnet18", loss=loss)


def test_a_network_without_modules_inside() -> None:
    with pytest.raises(SwatcostError, match=r"no module matches: Linear has none inside$"):
        swatcost.trace(nn.Linear(20, 20), input_shape=(20,), checkpoint="*")


def test_the_network_is_left_as_it_was() -> None:
    network = nn.Sequential(mlp(), mlp())
    before = [dict(each.__dict__) for each in network.modules()]
    swatcost.trace(network, input_shape=(20,), checkpoint="*")
    with pytest.raises(SwatcostError, match="does not accept"):
        swatcost.trace(network, input_shape=(21,), checkpoint="*")
    assert [dict(each.__dict__) for each in network.modules()] == before
