"""The bytes of a dense step, added up by hand on written-down networks, and laws that they keep."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swatcost.common.errors import SwatcostError
from swatcost.memory.dense_step import sizes_at, training_memory
from swatcost.memory.optimizers import OPTIMIZERS
from swatcost.memory.precisions import PRECISIONS, Precision
from swatcost.network import Network, Storage, Timeline
from swatcost.network.conditions import IN_LOSS

from .by_hand import cannot_be_changed, chain, fork, with_cross_entropy

chains = st.lists(st.integers(1, 64), min_size=2, max_size=5).map(lambda features: chain(*features))


def test_a_step_by_hand() -> None:
    """32 samples of 4 bytes: x 8 features, 1024 B; a and relu 16, 2048 B; b, c, y and its gradient 4, 512 B."""
    step = training_memory(fork())
    assert (step.batch_size, step.execution.optimizer.name, step.execution.precision.name) == (32, "momentum", "fp32")
    assert step.constant == {
        "parameters": 4 * (8 * 16 + 16 * 4 + 16 * 4),
        "optimizer state": 4 * (8 * 16 + 16 * 4 + 16 * 4),
        "buffers": 3 * 8,
    }
    assert step.gradients == 4 * (8 * 16 + 16 * 4 + 16 * 4)
    assert step.input == 1024
    assert list(step.saved.items()) == [("relu", 2048), ("addmm", 1024)]  # b and c read what relu saves already
    assert (step.loss, step.targets) == (0, 0)
    assert step.saved_bytes == 2048 + 1024
    # x, a, relu, −a, b, c, y, −b, −c; then y's gradient, b's, c's, relu's, −relu, a's, −relu's, −y's
    assert step.backward == 9
    assert step.live == [
        1024, 3072, 5120, 3072, 3584, 4096, 4608, 4096, 3584, 4096, 4352, 4608, 6656, 4608, 5120, 3072, 2560,
    ]  # fmt: skip
    assert step.peak.phase == "backward"
    assert {name: size for name, size in step.peak.holds.items() if size} == {
        "input": 1024,
        "saved activations": 2048,  # relu
        "gradients": 256 + 256,  # of b and c
        "other activations and their gradients": 512 + 512 + 2048,  # y, its gradient and relu's
        **step.constant,
    }
    assert step.peak.bytes == 6656 + 1024 + 1024 + 24


def test_a_loss_by_hand() -> None:
    """32 samples of 4 classes: log-probabilities and their gradient 512 B, labels 256, their weight and the loss 4."""
    without, step = training_memory(fork()), training_memory(with_cross_entropy(fork()))
    assert step.loss == 32 * 4 * 4 + 32 * 8 + 4
    assert step.targets == 32 * 8
    assert (step.saved, step.input, step.constant) == (without.saved, without.input, without.constant)
    assert step.saved_bytes == 2048 + 1024 + (512 + 256 + 4)
    # x, labels, a, relu, −a, b, c, y, −b, −c, log-probabilities, loss, weight; then the loss's gradient, the
    # log-probabilities', −weight, y's, −the two, b's, c's, relu's, −relu, a's, −relu's, −y's, −loss's
    assert step.backward == 13
    assert step.live == [
        1024, 1280, 3328, 5376, 3328, 3840, 4352, 4864, 4352, 3840, 4352, 4356, 4360,
        4364, 4876, 4872, 5384, 4872, 4360, 4616, 4872, 6920, 4872, 5384, 3336, 2824, 2820,
    ]  # fmt: skip
    assert step.peak.phase == "backward"
    assert {name: size for name, size in step.peak.holds.items() if size} == {
        "input": 1024,
        "targets": 256,
        "saved activations": 2048,
        "gradients": 256 + 256,
        "other activations and their gradients": 512 + 512 + 2048 + 4 + 4,  # also the loss and its gradient
        **step.constant,
    }
    assert step.peak.bytes == without.peak.bytes + 256 + 8


@pytest.mark.parametrize(
    ("precision", "activation"), [("fp32", 4), ("bf16", 2), ("fp16", 2), ("master", 2), ("mixed", 2)]
)
def test_a_loss_in_another_precision(precision: str, activation: int) -> None:
    """One sample: 4 log-probabilities and the label's weight in that precision, a label of 8 bytes."""
    step = training_memory(with_cross_entropy(fork()), batch_size=1, precision=precision)
    assert (step.loss, step.targets) == (activation * 4 + 8 + activation, 8)


def test_a_peak_that_holds_what_the_loss_saves() -> None:
    """Four events into the backward pass it is x, labels, relu, y, log-probabilities and the gradients of both."""
    network = with_cross_entropy(fork())
    timeline = replace(network.timeline, events=network.timeline.events[:17])
    peak = training_memory(replace(network, timeline=timeline), batch_size=2**20, optimizer="sgd").peak
    assert peak.holds == {
        "input": 2**20 * 8 * 4,
        "targets": 2**20 * 8,
        "saved activations": 2**20 * 16 * 4,
        "saved by the loss": 2**20 * 4 * 4,
        "other activations and their gradients": 3 * 2**20 * 4 * 4 + 4 + 4,
        "parameters": 1024, "master weights": 0, "optimizer state": 0, "buffers": 24,
    }  # fmt: skip
    assert sum(peak.holds.values()) == peak.bytes


def test_all_that_is_saved() -> None:
    assert training_memory(fork(), batch_size=5).saved_bytes == 5 * (16 + 8) * 4
    with_loss = training_memory(with_cross_entropy(fork()), batch_size=5)
    assert with_loss.saved_bytes == 5 * (16 + 8) * 4 + (5 * 4 * 4 + 5 * 8 + 4)


def test_what_the_network_saves_already_is_not_the_losss() -> None:
    """relu is saved by both: it is counted once, with the network's."""
    network = fork()
    network = replace(network, saved=(*network.saved, replace(network.saved[1], held_by=IN_LOSS)))
    assert training_memory(network).loss == 0
    assert training_memory(network).saved_bytes == training_memory(fork()).saved_bytes
    assert "saved by the loss" not in training_memory(network).peak.holds


def test_results_cannot_be_changed() -> None:
    step = training_memory(fork())
    with pytest.raises(TypeError):
        training_memory(fork(), 32)  # type: ignore[misc]  # settings have names
    assert all(map(cannot_be_changed, (step, step.peak, OPTIMIZERS.choose("sgd"), PRECISIONS.choose("fp32"))))


def test_frozen_parameters_have_no_gradient_and_no_state() -> None:
    step = training_memory(fork(frozen=True), batch_size=1, optimizer="adam", precision="mixed")
    assert step.constant == {
        "parameters": 2 * 256,
        "master weights": 4 * (128 + 64),
        "optimizer state": 4 * 2 * (128 + 64),
        "buffers": 24,
    }
    assert step.gradients == 2 * (128 + 64)


def test_what_was_traced_in_other_sizes_keeps_them() -> None:
    storages = tuple(
        Storage(bytes=size, scales_with_batch=scales, float_bytes=each)
        for size, scales, each in ((24, True, 2), (24, False, 0), (32, True, 8))
    )
    network = replace(fork(), storages=(*storages, *fork().storages[3:]))
    odd = Precision("odd", "", parameter=1, activation=2, state=4)
    # what was traced in 2 or 8 bytes and whole numbers stay; activations take 2 of 4 bytes, gradients of weights 1
    assert sizes_at(network, 4, odd) == [2 * 24, 24, 2 * 32, *(4 * 2 * each for each in (4, 4, 4, 4, 16)), 128, 64, 64]
    for size, precision in product((2, 8), ("fp32", "bf16")):
        parameters = tuple(replace(each, element_bytes=size) for each in network.parameters)
        step = training_memory(replace(network, parameters=parameters), precision=precision)
        assert step.constant["parameters"] == size * 256


def test_bytes_are_whole() -> None:
    network = replace(fork(), storages=(Storage(bytes=10, scales_with_batch=True, float_bytes=4), *fork().storages[1:]))
    step = training_memory(network, batch_size=1, precision="bf16")
    assert step.input == 5 * 2 // 4
    assert all(isinstance(each, int) for each in (step.input, step.loss, step.peak.bytes, *step.live))


def with_timeline(events: tuple[int, ...], backward: int, *, trains: bool = False) -> Network:
    parameters = tuple(replace(each, trains=trains) for each in fork().parameters)
    timeline = Timeline(events=events, backward=backward, inputs=1)
    return replace(fork(), timeline=timeline, parameters=parameters)


def test_where_the_peak_is() -> None:
    """x, a and relu take 64, 128 and 128 bytes at a batch of 2; parameters and buffers 1048."""

    def peak(events: tuple[int, ...], backward: int) -> tuple[int, str]:
        found = training_memory(with_timeline(events, backward), batch_size=2, optimizer="sgd").peak
        return found.bytes - 1024 - 24, found.phase

    assert peak((1, 2, 3), 2) == (320, "backward")  # at the first event of the backward pass
    assert peak((1, 2, 3), 3) == (320, "forward")
    assert peak((1, 2, -2, 3), 2) == (192, "forward")  # the first of two that are alike
    assert peak((2, 1, -1, -2, 3), 3) == (192, "forward")


def test_a_forward_peak_by_hand() -> None:
    step = training_memory(with_timeline((1, 2, 3, -2), 4), batch_size=2, optimizer="sgd")
    assert step.live == [64, 192, 320, 192]
    assert step.peak.holds == {
        "input": 64, "saved activations": 128, "other activations and their gradients": 128,
        "parameters": 1024, "master weights": 0, "optimizer state": 0, "buffers": 24,
    }  # fmt: skip


@pytest.mark.parametrize("trains", [True, False])
def test_a_network_without_a_recorded_step_is_refused(trains: bool) -> None:
    with pytest.raises(SwatcostError, match="fork has no recorded training step, so its memory is unknown"):
        training_memory(with_timeline((), 0, trains=trains), optimizer="adam")


def test_a_backward_pass_that_could_not_be_run_is_refused() -> None:
    with pytest.raises(SwatcostError, match="the backward pass of fork could not be run"):
        training_memory(with_timeline((1, 2), 2, trains=True))
    assert training_memory(with_timeline((1, 2), 2)).peak.phase == "forward"


@pytest.mark.parametrize("given", [{"optimizer": "lamb"}, {"precision": "fp8"}])
def test_unknown_choices_are_refused(given: dict[str, str]) -> None:
    with pytest.raises(SwatcostError, match="unknown"):
        training_memory(fork(), **given)  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(chains, st.integers(1, 50), st.sampled_from(["sgd", "momentum", "adam"]), st.sampled_from(["fp32", "mixed"]))
def test_laws(network: Network, batch: int, optimizer: str, precision: str) -> None:
    one, step = (
        training_memory(network, batch_size=size, optimizer=optimizer, precision=precision) for size in (1, batch)
    )
    # what grows with the batch is linear in it, the rest stays
    assert step.saved == {name: batch * size for name, size in one.saved.items()}
    assert (step.input, step.gradients, step.constant) == (batch * one.input, one.gradients, one.constant)
    # the parts add up, and the peak is no less than what is held together at any time
    assert sum(step.peak.holds.values()) == step.peak.bytes
    held = sum(step.constant.values())
    assert step.peak.bytes >= held + max(step.live)
    assert step.peak.bytes >= held + sum(step.saved.values())
    assert step.peak.bytes >= held + step.gradients
    assert step.live[-1] == step.input + step.gradients + batch * (one.live[-1] - one.input - one.gradients)
