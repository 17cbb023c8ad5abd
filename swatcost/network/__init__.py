"""The contents of a trace: a network as plain data, without torch."""

from swatcost.network.attention import Attention, Embedding
from swatcost.network.batches import batch_is_identifiable
from swatcost.network.layer import Layer, Symbols, first_uses
from swatcost.network.network import (
    SCHEMA,
    Buffer,
    Network,
    Parameter,
    Uncounted,
    Variation,
    network_of,
    parse_network,
    read_network,
)
from swatcost.network.tensors import Accumulation, Movement, SavedTensor, StepTensors, Storage, Timeline

__all__ = [
    "SCHEMA", "Accumulation", "Attention", "Buffer", "Embedding", "Layer", "Movement", "Network", "Parameter",
    "SavedTensor", "StepTensors", "Storage", "Symbols", "Timeline", "Uncounted", "Variation", "batch_is_identifiable",
    "first_uses", "network_of", "parse_network", "read_network",
]  # fmt: skip
