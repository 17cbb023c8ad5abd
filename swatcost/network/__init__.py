"""What a trace says of a network: plain data that needs no torch."""

from swatcost.network.layer import Layer, Symbols, first_uses
from swatcost.network.network import (
    SCHEMA,
    Buffer,
    Network,
    Parameter,
    SavedTensor,
    Storage,
    Timeline,
    Uncounted,
    parse_network,
    read_network,
    tells_batch,
)

__all__ = [
    "SCHEMA", "Buffer", "Layer", "Network", "Parameter", "SavedTensor", "Storage", "Symbols", "Timeline", "Uncounted",
    "first_uses", "parse_network", "read_network", "tells_batch",
]  # fmt: skip
