"""A machine with round numbers, on which the time of a step can be added up by hand, and a network to run on it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from swatcost.devices import Device, Measured, TopkTimes
from swatcost.devices.operations import Peak
from swatcost.network import Layer, Network
from swatcost.network.tensors import Movement

from .by_hand import BATCH, chain

PEAK = Peak(name="fp32", macs_per_second=1000, source="round")
SAMPLES = 64
"""Samples of a step of `two_layers`."""


def machine(**fields: Any) -> Device:
    """1000 MACs and 1000 bytes per second, unless other fields are given."""
    each = Measured(seconds=1.0, elements=1000)
    given = {"precisions": (PEAK,), "bytes_per_second": 1000.0, "measured": False} | fields
    return Device(name="round", title="", source="", topk=TopkTimes(weights=each, activations=each), **given)


def two_layers() -> Network:
    """8 features → 16 → ReLU → 4: 8192 MACs in each pass of the first layer at `SAMPLES`, 4096 of the second.

    The first has no grad_input. ReLU reads and writes 16 numbers per sample, 8192 bytes; its gradient moves 12,288.
    """
    size = BATCH * 16 * 4
    return replace(
        chain(8, 16, 4),
        movements=(
            Movement(operation="relu", in_pass="forward", calls=1, fixed_bytes=0, batch_bytes=2 * size),
            Movement(operation="threshold_backward", in_pass="backward", calls=1, fixed_bytes=0, batch_bytes=3 * size),
        ),
    )  # fmt: skip


def network_of(*layers: Layer, batch_size: int = BATCH) -> Network:
    """Layers whose weights are computed, so that no parameter has to be listed."""
    return Network(
        name="layers", input_shapes=((batch_size, 1),), batch_size=batch_size, layers=layers, parameters=(), buffers=()
    )
