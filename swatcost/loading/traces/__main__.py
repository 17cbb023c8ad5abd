"""Rewrites the shipped traces."""

import sys
from itertools import product
from pathlib import Path

import msgspec
from swatcost_models import ZOO, ZooNetwork

from swatcost.common.files import write_atomically
from swatcost.loading.scaled_trace import ScaledTrace, scaled
from swatcost.network.batches import identifiable_sizes
from swatcost.tracing.sources import trace_zoo


def _scaled(entry: ZooNetwork) -> ScaledTrace:
    """The trace of a network of tokens, from six traces, and compared with others."""
    (longest,) = entry.input_shape
    lengths = (longest // 4, longest // 2, longest)
    network = trace_zoo(entry)
    shapes = [each.shape for each in network.parameters] + [each.shape for each in network.buffers]
    sizes = identifiable_sizes(size for shape in shapes for size in shape)
    both = [size for size in sizes if all(length % size for length in lengths)][:2]
    texts = {(size, length): _text(entry, length, batch_size=size) for size, length in product(both, lengths)}
    found = scaled(texts, sizes)
    for tokens in (3, 7 * sizes[0], longest // 3, longest - 1, *(() if entry.context else (2 * longest + 1,))):
        if found.text(tokens) != _text(entry, tokens):
            raise ValueError(f"{entry.name}: the trace of {tokens} tokens is not the scaled one")
    return found


def _text(entry: ZooNetwork, tokens: int, batch_size: int | None = None) -> bytes:
    return msgspec.json.encode(trace_zoo(entry, seq_len=tokens, batch_size=batch_size))


for _entry in [ZOO[name] for name in sys.argv[1:]] or ZOO.values():
    _trace = _scaled(_entry) if _entry.input_dtype else trace_zoo(_entry)
    write_atomically(Path(__file__).parent / f"{_entry.name}.json", msgspec.json.encode(_trace).decode() + "\n")
    print(_entry.name)
