"""Whose gradient is whose: as the trace says, and by size in one that does not."""

from __future__ import annotations

from dataclasses import replace

from swatcost.memory.gradients import gradient_of_parameters, parameter_of_gradients, updated_parameters
from swatcost.network import Accumulation, Network

from .by_hand import fork


def accumulating(*found: tuple[int, int]) -> Network:
    """`fork` with the parameter of each gradient storage, all at the end."""
    network = fork()
    each = tuple(
        Accumulation(parameter=parameter, storage=storage, event=len(network.timeline.events))
        for parameter, storage in found
    )
    return replace(network, timeline=replace(network.timeline, accumulations=each))


def test_an_older_trace_has_gradients_by_size_in_reverse_order_of_use() -> None:
    """a has 128 elements, b and c have 64 each, and storage 9 is made before 10."""
    assert parameter_of_gradients(fork()) == {8: 0, 9: 2, 10: 1}
    assert updated_parameters(fork()) == [0, 1, 2]
    assert updated_parameters(fork(frozen=True)) == [0, 1]


def test_a_trace_that_says_whose_they_are_is_believed() -> None:
    """fork computes b's gradient before c's, which is not the reverse order of use."""
    network = accumulating((1, 9), (2, 10), (0, 8))
    assert parameter_of_gradients(network) == {8: 0, 9: 1, 10: 2}
    assert gradient_of_parameters(network) == {0: 8, 1: 9, 2: 10}


def test_parameters_without_a_gradient_are_not_updated() -> None:
    network = accumulating((1, 9), (0, 8))
    assert updated_parameters(network) == [0, 1]
    assert gradient_of_parameters(network) == {0: 8, 1: 9}


def test_a_storage_that_parameters_share_belongs_to_none_of_them() -> None:
    assert parameter_of_gradients(accumulating((1, 9), (2, 9), (0, 8))) == {8: 0}
