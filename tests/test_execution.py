"""What an execution changes in a step, by hand: updates, micro-batches, updates in the backward pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import swatcost
from swatcost.common.errors import SwatcostError
from swatcost.memory.dense_step import StepMemory, training_memory
from swatcost.memory.execution import Execution
from swatcost.memory.optimizers import OPTIMIZERS, UPDATES
from swatcost.network import Accumulation, Network

from .by_hand import fork
from .cases import Applied, weights


def accumulating_fork(*, copied: bool = False) -> Network:
    """`fork`, whose gradients of b, c and a (storages 9, 10 and 8) are accumulated after 11, 12 and 15 events."""
    accumulations = tuple(
        Accumulation(parameter=parameter, storage=storage, event=event, copied=copied and storage == 9)
        for parameter, storage, event in ((1, 9, 11), (2, 10, 12), (0, 8, 15))
    )
    return replace(fork(), timeline=replace(fork().timeline, accumulations=accumulations))


FORWARD = [1024, 3072, 5120, 3072, 3584, 4096, 4608, 4096, 3584]
"""fork at 32 samples: x, a, relu, −a, b, c, y, −b, −c."""
HELD = 4 * 256 + 4 * 256 + 24
"""Parameters, momenta and buffers."""


def parts(step: StepMemory) -> int:
    return sum(step.peak.holds.values())


def test_gradients_of_earlier_micro_batches_by_hand() -> None:
    step = training_memory(accumulating_fork(), accumulate=2)
    assert step.constant["accumulated gradients"] == step.gradients == 4 * 256
    # y's gradient; b's, −b's; c's, −c's; relu's, −relu; a's, −a's; −relu's, −y's
    assert step.live == [*FORWARD, 4096, 4352, 4096, 4352, 4096, 6144, 4096, 4608, 4096, 2048, 1536]
    assert step.peak.bytes == parts(step) == 6144 + HELD + 4 * 256
    assert "gradients" not in step.peak.holds  # each new one has been added to an earlier one
    assert training_memory(accumulating_fork(), accumulate=7).live == step.live


def test_a_gradient_that_would_be_copied_is_added_as_it_is() -> None:
    step = training_memory(accumulating_fork(copied=True), accumulate=2)
    assert step.live == [*FORWARD, 4096, 4352, 4096, 6144, 4096, 4608, 4096, 2048, 1536]


def test_updates_in_the_backward_pass_by_hand() -> None:
    """Adam's copies of b, c and a, of 256, 256 and 512 bytes, are there before each gradient is freed."""
    step = training_memory(accumulating_fork(), optimizer="adam", update_in_backward=True)
    assert step.live == [
        *FORWARD, 4096, 4352, 4608, 4352, 4096, 4352, 4608, 4352, 4096, 6144, 4096, 4608, 5120, 4608, 4096, 2048, 1536,
    ]  # fmt: skip
    assert (step.peak.bytes, step.peak.phase) == (6144 + HELD + 4 * 256, "backward")
    assert step.peak.holds["other activations and their gradients"] == 512 + 512 + 2048  # y, its gradient and relu's
    assert step.working == 0
    loop = training_memory(accumulating_fork(), optimizer="adam", update="loop", update_in_backward=True)
    assert max(loop.live[-7:]) == 4608 + 2 * 512
    fused = training_memory(accumulating_fork(), optimizer="adam", update="fused", update_in_backward=True)
    assert fused.live == [*FORWARD, 4096, 4352, 4096, 4352, 4096, 6144, 4096, 4608, 4096, 2048, 1536]


def test_copies_in_the_backward_pass_may_be_the_peak() -> None:
    step = training_memory(accumulating_fork(), batch_size=1, optimizer="adam", update_in_backward=True)
    # x, y and two gradients: 8, 4, 4 and 16; a's gradient and its copy
    assert step.peak.bytes == parts(step) == 4 * (8 + 4 + 4 + 16 + 128 + 128) + 4 * 256 * 3 + 24
    assert step.peak.holds["optimizer's working copies"] == step.peak.holds["gradients"] == 4 * 128


def test_gradients_in_one_storage_are_freed_with_the_last() -> None:
    """The halves of a joined weight's gradient, which both parameters keep."""

    def joined(self: Any, x: Tensor) -> Tensor:
        return x @ torch.cat([self.u, self.v])

    module = Applied(joined, {"u": weights(300, 10), "v": weights(200, 10)})
    network = swatcost.trace(module, input_shape=(500,))
    assert [each.storage for each in network.timeline.accumulations] == [*network.timeline.gradients] * 2
    step = training_memory(network, batch_size=1, optimizer="sgd", update_in_backward=True)
    assert step.live[-1] == 4 * (500 + 1) + 8  # input, loss and a label
    assert step.live.count(max(step.live)) == 1


def test_a_trace_knows_when_gradients_are_accumulated() -> None:
    network = swatcost.trace(nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 5)), input_shape=(10,))
    timeline = network.timeline
    assert sorted(each.parameter for each in timeline.accumulations) == [0, 1, 2, 3]
    assert [network.storages[each.storage].bytes for each in timeline.accumulations] == [
        4 * 5,
        4 * 100,
        4 * 20,
        4 * 200,
    ]
    assert not any(each.copied for each in timeline.accumulations)
    # the second layer's are there before the first's are made
    second, first = (max(each.event for each in timeline.accumulations[at : at + 2]) for at in (0, 2))
    assert all(timeline.events.index(each.storage + 1) >= second for each in timeline.accumulations[2:])
    assert timeline.backward < second < first <= len(timeline.events)


def test_an_expanded_gradient_is_copied() -> None:
    """The bias is added to a sum, and its gradient is the output's, expanded."""
    module = Applied(lambda self, x: self.a(x).sum(1) + self.b.sum(), {"a": nn.Linear(7, 3), "b": weights(50)})
    network = swatcost.trace(module, input_shape=(7,))
    copied = {network.parameters[each.parameter].name for each in network.timeline.accumulations if each.copied}
    assert copied == {"b"}


def test_older_traces_are_traced_again() -> None:
    assert training_memory(fork()).peak.bytes
    for given in ({"accumulate": 2}, {"update_in_backward": True}):
        with pytest.raises(SwatcostError, match="the trace of fork does not say when gradients are accumulated"):
            training_memory(fork(), **given)  # type: ignore[arg-type]


def test_the_default_update_is_the_librarys_on_a_gpu() -> None:
    defaults = {each.name: Execution.of(optimizer=each.name).update for each in OPTIMIZERS}
    assert defaults == {
        "sgd": "foreach", "momentum": "foreach", "adam": "foreach", "adamw": "foreach", "adafactor": "loop",
        "adam8bit": "fused", "lion": "loop", "muon": "foreach",
    }  # fmt: skip
    assert all(set(each.updates) <= set(UPDATES) for each in OPTIMIZERS)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"update": "each"}, "unknown update 'each': choose from foreach, fused, loop"),
        ({"update": ["loop"]}, "unknown update ['loop']: choose from"),
        ({"update": "fused", "optimizer": "lion"}, "lion has no fused update: choose loop or foreach"),
        ({"update": "loop", "optimizer": "adam8bit"}, "adam8bit has no loop update: choose fused"),
        ({"accumulate": 0}, "accumulate 0: give a whole number from 1 to 10^12"),
        ({"accumulate": 1.5}, "accumulate 1.5: give a whole number"),
        ({"accumulate": True}, "accumulate True: give a whole number"),
        ({"accumulate": 10**13}, "accumulate 10000000000000: give a whole number from 1 to 10^12"),
        ({"update_in_backward": 1}, "update_in_backward 1: give True or False"),
        ({"weight_storage": ["copies"]}, "weight_storage \"['copies']\": give field=value"),
        ({"accumulate": 2, "update_in_backward": True}, "give accumulate 1 or no update_in_backward"),
    ],
)
def test_executions_that_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SwatcostError) as refused:
        Execution.of(**given)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_execution_in_words() -> None:
    full = "fp32 (4 bytes per number)"
    assert Execution.of().title == f"momentum, {full}"
    assert Execution.of(optimizer="adam", update="foreach").title == f"adam, {full}"
    assert Execution.of(optimizer="adam", update="loop").title == f"adam (loop), {full}"
    assert Execution.of(accumulate=4).title == f"momentum, {full}, 4 micro-batches per update"
    assert Execution.of(update_in_backward=True).title == f"momentum, {full}, updates in the backward pass"
