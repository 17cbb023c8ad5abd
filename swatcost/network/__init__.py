"""The contents of a trace: a network as plain data, without torch."""

from swatcost.network.batches import batch_is_identifiable
from swatcost.network.layer import Layer, Symbols, first_uses
from swatcost.network.network import (
    SCHEMA,
    Accumulation,
    Buffer,
    Network,
    Parameter,
    SavedTensor,
    Storage,
    Timeline,
    Uncounted,
    Variation,
    parse_network,
    read_network,
)

__all__ = [
    "SCHEMA", "Accumulation", "Buffer", "Layer", "Network", "Parameter", "SavedTensor", "Storage", "Symbols",
    "Timeline", "Uncounted", "Variation", "batch_is_identifiable", "first_uses", "parse_network", "read_network",
]  # fmt: skip
