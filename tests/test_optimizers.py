"""Optimizers against torch's own: their state, the temporaries of an update, and what gradients do meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any
from unittest import mock

import pytest
import torch
from swatcost_models import ZOO
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker

import swatcost
from swatcost.memory.dense_step import training_memory
from swatcost.memory.optimizers import OPTIMIZERS, UPDATES, Trained
from swatcost.tracing.autograd_graph import differentiable

from .by_hand import chain, fork
from .measured import frozen_as_buffers, lost, target
from .random_steps import random_step
from .test_peak import KINDS, Step

pytestmark = pytest.mark.filterwarnings("ignore")

SHAPES = [(4097,), (64, 64), (63, 65), (10,), (512, 300), (), (8, 4, 3, 3), (4096, 1), (1, 4095), (2, 3, 4)]
"""Vectors, matrices, kernels, and sizes around those at which 8-bit Adam begins."""

TORCHS = {
    "sgd": lambda them, **way: torch.optim.SGD(them, 0.1, **way),
    "momentum": lambda them, **way: torch.optim.SGD(them, 0.1, 0.9, **way),
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adafactor": torch.optim.Adafactor,
}
WAYS = [(name, way) for name in (*TORCHS, "muon") for way in OPTIMIZERS[name].updates]


def optimizers(name: str, way: str, parameters: Sequence[Tensor]) -> list[torch.optim.Optimizer]:
    """torch's optimizers for these parameters, one after another."""
    how: dict[str, Any] = {"fused": True} if way == "fused" else {"foreach": way == "foreach"}
    if name != "muon":
        return [TORCHS[name](parameters, **how)]
    matrices, others = [[each for each in parameters if (each.ndim == 2) == two] for two in (True, False)]
    adamw = [torch.optim.AdamW(others, **how)] if others else []
    return [torch.optim.Muon(matrices), *adamw] if matrices else adamw


def states(them: Sequence[torch.optim.Optimizer]) -> dict[str, int]:
    """Bytes of torch's state: its tensors, and its step counters."""
    named = [(key, each) for one in them for state in one.state.values() for key, each in state.items()]
    named = [(key, each) for key, each in named if isinstance(each, Tensor)]
    sizes = {
        key: sum(each.nbytes for name, each in named if (name == "step") == (key == "step")) for key in ("", "step")
    }
    return {"state": sizes[""], "counters": sizes["step"]}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("name", "way"), WAYS)
def test_state_of_torchs_optimizers(name: str, way: str, dtype: torch.dtype) -> None:
    parameters = [nn.Parameter(torch.ones(shape, dtype=dtype)) for shape in SHAPES]
    for each in parameters:
        each.grad = torch.ones_like(each)
    them = optimizers(name, way, parameters)
    for one in them:
        one.step()
    trained = [Trained(shape, dtype.itemsize) for shape in SHAPES]
    found = states(them)
    assert OPTIMIZERS[name].state(trained) == found["state"]
    on_device = found["counters"] if way == "fused" else 0  # torch keeps the others on the host
    assert OPTIMIZERS[name].updates[way].counters(trained) == on_device


def test_state_by_hand() -> None:
    """1,000 × 3,000, 100 kernels of 10 × 3 × 3, and 4,095 numbers, in 4 and in 2 bytes."""
    matrix, kernels, vector = 3_000_000, 9_000, 4_095
    every = matrix + kernels + vector
    shapes = [(1000, 3000), (100, 10, 3, 3), (4095,)]
    factored = 1000 + 3000 + 1000 * (3 + 3) + vector
    expected = {
        "sgd": 0, "momentum": every, "adam": 2 * every, "adamw": 2 * every, "lion": every, "adafactor": factored,
        "muon": matrix + 2 * (kernels + vector),
    }  # fmt: skip
    for size in (2, 4):
        trained = [Trained(shape, size) for shape in shapes]
        found = {name: OPTIMIZERS[name].state(trained) for name in OPTIMIZERS.names()}
        in_8_bits = found.pop("adam8bit")
        assert found == {name: size * numbers for name, numbers in expected.items()}
        # blocks of 256: 11,718.75 and 35.16; fewer than 4,096 are not worth it; 256 numbers for each moment's bytes
        assert in_8_bits == 2 * (matrix + kernels) + 2 * 4 * (11_719 + 36) + 2 * 4 * vector + 2 * 4 * 256


def test_state_as_bitsandbytes_and_lion_pytorch_have_it() -> None:
    """Their tensors for `SHAPES` in fp32 and bf16, added up once (bitsandbytes 0.50.2, lion-pytorch 0.2.5)."""
    shapes = [(4097,), (64, 64), (63, 65), (10,), (512, 300), (256,), (8, 4, 3, 3), (4096, 1)]
    full, half = ([Trained(shape, size) for shape in shapes] for size in (4, 2))
    assert [OPTIMIZERS["adam8bit"].state(each) for each in (full, half)] == [376_210, 376_210]
    assert [OPTIMIZERS["lion"].state(each) for each in (full, half)] == [682_152, 341_076]
    # the tracker's peak while lion_pytorch.Lion and lion_pytorch.foreach.Lion update, without what is held anyway
    temporaries = {name: way.temporaries(full) for name, way in OPTIMIZERS["lion"].updates.items()}
    assert temporaries == {"loop": 1_228_800, "foreach": 682_152}


def test_every_number_of_a_precision() -> None:
    """fork has 256 parameters of 4 bytes: in `mixed` 2, and the optimizer sees a master copy of 4."""
    for precision, parameter, state, master in (("fp32", 4, 4, 0), ("bf16", 2, 2, 0), ("mixed", 2, 4, 4)):
        step = training_memory(fork(), batch_size=1, optimizer="adam", precision=precision)
        held = [parameter * 256, *([master * 256] if master else []), state * 2 * 256, 24]
        assert list(step.constant.values()) == held
        assert step.working == state * 256
        loop = training_memory(fork(), batch_size=1, optimizer="adam", precision=precision, update="loop")
        assert loop.working == state * max(2 * 128, 128 + 2 * 64)
        assert (step.peak.phase, loop.peak.phase) == ("optimizer step", "optimizer step")
        left = parameter * (8 + 4) + parameter * 256  # x, y and all gradients; activations have as many bytes here
        assert step.peak.holds["optimizer's working copies"] == state * 256
        assert step.peak.bytes == sum(held) + left + state * 256
        assert loop.peak.bytes == sum(held) + left + state * 256


def test_adams_last_temporary_lives_until_the_next_parameters_replaces_it() -> None:
    """8 → 16 → 16: while the second of 256 weights is updated, its two copies and one of the first's 128."""
    assert training_memory(chain(8, 16, 16), optimizer="adam", update="loop").working == 4 * (8 * 16 + 2 * 16 * 16)
    assert training_memory(chain(16, 16, 8), optimizer="adam", update="loop").working == 4 * max(2 * 256, 256 + 2 * 128)
    assert training_memory(chain(16, 16, 8), optimizer="adam").working == 4 * (256 + 128)
    assert training_memory(chain(16, 16, 8), optimizer="adam", update="fused").working == 0
    assert training_memory(chain(16, 16, 8), optimizer="momentum").working == 0


def test_step_counters_are_on_the_gpu_if_the_update_is_fused() -> None:
    sizes = {way: training_memory(fork(), optimizer="adamw", update=way).constant["optimizer state"] for way in UPDATES}
    assert sizes == {"foreach": 8 * 256, "loop": 8 * 256, "fused": 8 * 256 + 4 * 3}


def test_a_network_traced_in_two_bytes_has_its_state_in_two() -> None:
    network = replace(fork(), parameters=tuple(replace(each, element_bytes=2) for each in fork().parameters))
    assert training_memory(network, optimizer="adam").constant["optimizer state"] == 2 * 2 * 256
    assert training_memory(network, optimizer="adam", precision="mixed").constant["optimizer state"] == 4 * 2 * 256


def tracked_peak(
    build: Callable[[], nn.Module],
    sample: Tensor,
    batch: int,
    name: str,
    way: str,
    *,
    accumulate: int = 1,
    in_backward: bool = False,
) -> int:
    """MemTracker's peak of an update with a cross-entropy over all outputs; the optimizer has its state already.

    The loss is held until the step or the next micro-batch, targets throughout. Not included: step counters
    that are on the host if there is a GPU.
    """
    values = mock.patch.object(Tensor, "item", return_value=1.0)  # Adafactor reads norms, which have no value here
    with FakeTensorMode(), values:
        module = frozen_as_buffers(build())
        x = torch.empty(batch, *sample.shape, dtype=sample.dtype)
        targets = [target(each, "cross-entropy") for each in differentiable(module(x))]
        parameters = list(module.parameters())
        groups = [[each] for each in parameters] if in_backward else [parameters]
        by_group = [optimizers(name, way, group) for group in groups]
        them = [one for those in by_group for one in those]
        for each in parameters:
            each.grad = torch.zeros_like(each)
        for one in them:
            one.step()
            one.zero_grad()
        if in_backward:
            by_parameter = dict(zip(parameters, them, strict=True))

            def use(parameter: Tensor) -> None:
                by_parameter[parameter].step()
                by_parameter[parameter].zero_grad()

            for each in parameters:
                each.register_post_accumulate_grad_hook(use)
        tracker = MemTracker()
        tracker.track_external(module, *them, x, *targets)

        def micro_batch() -> Tensor:
            outputs = module(x)
            losses = [lost(*pair, "cross-entropy") for pair in zip(differentiable(outputs), targets, strict=True)]
            loss = reduce(add, losses)
            del losses, outputs
            loss.backward()
            return loss

        with tracker:
            for _ in range(accumulate):
                held: Any = None
                tracker.reset_mod_stats()  # it allows one call of a module
                held = micro_batch()
            for one in [] if in_backward else them:
                one.step()
            del held
        (device,) = tracker.get_tracker_snapshot("peak").values()
        return int(device["Total"]) - (0 if way == "fused" else states(them)["counters"])


def peaks(step: Step, name: str, way: str, **how: Any) -> tuple[int, int]:
    """The model's peak and the tracker's."""
    build, shape, batch = step
    ours = training_memory(
        swatcost.trace(build(), input_shape=shape, loss="cross-entropy"), batch_size=batch, optimizer=name, update=way,
        accumulate=how.get("accumulate", 1), update_in_backward=how.get("in_backward", False),
    )  # fmt: skip
    return ours.peak.bytes, tracked_peak(build, torch.empty(shape, device="meta"), batch, name, way, **how)


# Where the peak is in the update, because the batch is small or the network has large parameters; and where a gradient
# is copied, is shared by two uses, or belongs to no parameter of the step.
UPDATED = ("low rank", "positions as an input", "buffers read and written", "result without a use",
           "output and its views", "weight used twice", "tied weights", "frozen ends", "no biases")  # fmt: skip


@pytest.mark.parametrize(("name", "way"), WAYS)
@pytest.mark.parametrize("kind", UPDATED)
def test_peak_of_an_update_to_the_byte(kind: str, name: str, way: str) -> None:
    """All of `KINDS` at their own batches, and 15 random networks, gave the same."""
    build, shape, _ = KINDS[kind]
    ours, theirs = peaks((build, shape, 2), name, way)
    assert ours == theirs


@pytest.mark.parametrize("accumulate", [2, 3])
@pytest.mark.parametrize(("name", "way"), [("sgd", "loop"), ("adam", "foreach"), ("adam", "loop")])
@pytest.mark.parametrize("kind", ["expanded output", *UPDATED])
def test_peak_of_accumulated_gradients_to_the_byte(kind: str, name: str, way: str, accumulate: int) -> None:
    ours, theirs = peaks(KINDS[kind], name, way, accumulate=accumulate)
    assert ours == theirs


@pytest.mark.parametrize(
    ("name", "way"), [("sgd", "fused"), ("adam", "foreach"), ("adam", "loop"), ("muon", "foreach")]
)
@pytest.mark.parametrize("kind", ["expanded output", *UPDATED])
def test_peak_of_updates_in_the_backward_pass_to_the_byte(kind: str, name: str, way: str) -> None:
    ours, theirs = peaks(KINDS[kind], name, way, in_backward=True)
    assert ours == theirs


@pytest.mark.parametrize("seed", range(12))
def test_peak_of_random_networks_to_the_byte(seed: int) -> None:
    """`random_step` gave the same for its first 25 seeds with SGD, Adam and, in the backward pass, Muon."""
    how = ({}, {"accumulate": 2}, {"in_backward": True})[seed % 3]
    ours, theirs = peaks(random_step(seed), *WAYS[(5 * seed) % len(WAYS)], **how)
    assert ours == theirs


@pytest.mark.parametrize(
    ("zoo", "name", "way", "how"),
    [
        ("cifar_resnet18", "adamw", "foreach", {}), ("cifar_vgg16", "adafactor", "loop", {}),
        ("cifar_vgg16", "muon", "foreach", {}), ("cifar_resnet18", "momentum", "foreach", {"accumulate": 2}),
        ("cifar_vgg16", "adam", "loop", {"in_backward": True}),
    ],
)  # fmt: skip
def test_peak_of_the_zoo_to_the_byte(zoo: str, name: str, way: str, how: dict[str, Any]) -> None:
    sample = torch.empty(ZOO[zoo].input_shape, device="meta")
    keywords = {"update_in_backward" if key == "in_backward" else key: value for key, value in how.items()}
    step = training_memory(
        swatcost.load(zoo, loss="cross-entropy"), batch_size=2, optimizer=name, update=way, **keywords
    )
    assert step.peak.bytes == tracked_peak(ZOO[zoo].build, sample, 2, name, way, **how)
