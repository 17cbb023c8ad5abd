"""What the steps of inference compute and move: weights, a cache of keys and values, products with both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Literal

from swatcost.counting.costs import Cost
from swatcost.devices import Rates
from swatcost.estimate import Estimate
from swatcost.memory.storage_formats import formats_of, smallest
from swatcost.network import Layer
from swatcost.network.layer import parameter_of
from swatcost.planning.kv_cache import KeyValueCache, attention_pairs

DTYPES: Mapping[str, int] = MappingProxyType({"fp32": 4, "bf16": 2, "fp16": 2, "fp8": 1})
"""Bytes per element, by the names of precisions that devices have rates of."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One phase of inference with a batch: `tokens` per sequence in `steps` forward passes.

    `macs` are of all its steps and sequences. The bytes [B] are those that its steps read and write, of weights and of
    the cache; activations are left out. `seconds` [s] takes in each step the longer of MACs at the device's rate and
    bytes at its bandwidth: a lower bound, but for networks with experts, of which the bytes are expected ones; None
    where the device's profile has no such numbers. `memory_bound` is the share of dense steps whose bytes take longer.
    """

    name: Literal["prefill", "decode"]
    tokens: int
    steps: int
    macs: Cost
    weight_bytes: Cost
    cache_bytes: int
    seconds: Cost | None
    memory_bound: float | None


class InferenceWork:
    """The work of each step of a language model, whose attentions have these caches."""

    def __init__(self, estimate: Estimate, caches: Sequence[KeyValueCache], dtype: str) -> None:
        self._estimate, self._network = estimate, estimate.network
        self._caches = Counter(replace(each, name="") for each in caches)  # most are alike
        self._dtype, self._bytes = dtype, DTYPES[dtype]
        positions = self._network.tokens_per_sample
        assert positions is not None  # caches_of refuses networks of other inputs
        self._positions = positions
        in_attention = {id(each) for pair in attention_pairs(self._network) for each in pair}
        layers = [each for each in estimate.layers if id(each.layer) not in in_attention]
        output = self._network.output_layer
        scored = [each for each in layers if output is not None and each.layer.weight == output.weight]
        self.logits = sum((each.exact.inference for each in scored), Cost()) / positions
        """MACs of scoring the vocabulary for one token; a prompt's last token alone needs it."""
        self.per_token = sum((each.exact.inference for each in layers if each not in scored), Cost()) / positions
        """MACs of one token in all other products but those of attention."""

    def prefill(self, prompt: int) -> Phase:
        """Reads `prompt` tokens of each sequence in one step: each token attends to itself and those before it."""
        batch = self._estimate.batch_size
        attention = sum(
            times * each.macs * sum(map(each.held, range(1, prompt + 1))) for each, times in self._caches.items()
        )
        work = batch * (prompt * self.per_token + self.logits + Cost(attention, attention))
        written = batch * self.cache_bytes(prompt)
        return self._phase("prefill", prompt, [(work, self.weight_bytes(batch * prompt), written)])

    def decode(self, prompt: int, generate: int) -> Phase:
        """Generates `generate` tokens of each sequence, one per step: each attends to itself and those before it."""
        batch = self._estimate.batch_size
        weights = self.weight_bytes(batch)
        written = self.cache_bytes(1)
        steps = []
        for before in range(prompt, prompt + generate):
            attention = sum(times * each.macs_per_key * each.held(before + 1) for each, times in self._caches.items())
            macs = batch * (self.per_token + self.logits + Cost(attention, attention))
            steps.append((macs, weights, batch * (self.cache_bytes(before) + written)))  # read, and one added
        return self._phase("decode", generate, steps)

    def cache_bytes(self, tokens: int) -> int:
        """Bytes that all caches hold of a sequence of `tokens` tokens."""
        return self._bytes * sum(times * each.elements * each.held(tokens) for each, times in self._caches.items())

    @cached_property
    def resident_bytes(self) -> Cost:
        """Bytes of all parameters, sparse ones in their smallest format."""
        other = self._other_elements * self._bytes
        tables = sum(each.elements for each in self._network.parameters if each.name in self._tables) * self._bytes
        return sum((bytes for _, bytes in self._weights), Cost(other + tables, other + tables))

    def weight_bytes(self, tokens: int) -> Cost:
        """Bytes of parameters that a step of `tokens` tokens reads: each once, of embeddings the rows looked up.

        Of E experts, of which a token is sent to k, (1 − k / E)^tokens are expected to be read by none if all are
        equally likely. A router that prefers some reads fewer.
        """
        whole = Cost()
        for layer, bytes in self._weights:
            share = 1.0
            if layer.routed:
                chosen = layer.images / (self._positions * self._network.batch_size)
                share = 1 - max(0.0, 1 - chosen / layer.groups) ** tokens
            whole += share * bytes if share < 1 else bytes
        shapes = {each.name: each.shape for each in self._network.parameters}
        rows = sum(min(tokens, shapes[name][0]) * shapes[name][-1] for name in self._tables if len(shapes[name]) == 2)
        others = (self._other_elements + rows) * self._bytes
        return whole + Cost(others, others)

    @cached_property
    def _weights(self) -> list[tuple[Layer, Cost]]:
        """Each weight's first layer, and its bytes."""
        found = []
        for layer, kept in self._estimate.plan.non_zeros_by_weight(self._network):
            rows, columns = layer.weight_shape[0], layer.weight_elements / layer.weight_shape[0]
            dense = layer.weight_elements * self._bytes
            sparse: float = dense
            if kept < layer.weight_elements:
                pattern = self._estimate.plan.pattern
                form = smallest(rows, columns, kept, self._bytes, pattern=pattern)
                sparse = formats_of(pattern)[form.name].size(rows, columns, kept, self._bytes)
            found.append((layer, Cost(dense, sparse)))
        return found

    @cached_property
    def _tables(self) -> frozenset[str]:
        """Embeddings that are no layer's weight."""
        looked_up = frozenset(each.parameter for each in self._network.embeddings or ())
        return looked_up - {parameter_of(layer.weight)[0] for layer, _ in self._weights}

    @cached_property
    def _other_elements(self) -> int:
        """Parameters that are neither a layer's weight nor an embedding."""
        beside = self._tables | {parameter_of(layer.weight)[0] for layer, _ in self._weights}
        return sum(each.elements for each in self._network.parameters if each.name not in beside)

    @cached_property
    def _rates(self) -> Rates | None:
        device = self._estimate.device
        rate = next((each.macs_per_second for each in device.precisions if each.name == self._dtype), None)
        if rate is None or device.bytes_per_second is None:
            return None
        return Rates(macs_per_second=rate, bytes_per_second=device.bytes_per_second)

    def _phase(self, name: Literal["prefill", "decode"], tokens: int, steps: list[tuple[Cost, Cost, int]]) -> Phase:
        seconds = share = None
        if (rates := self._rates) is not None:
            bound = [
                Cost(rates.bound(macs.dense, read.dense + cache), rates.bound(macs.sparse, read.sparse + cache))
                for macs, read, cache in steps
            ]
            slow = sum(rates.bound(0, read.dense + cache) > rates.bound(macs.dense, 0) for macs, read, cache in steps)
            seconds, share = sum(bound, Cost()), slow / len(steps)
        return Phase(
            name=name,
            tokens=tokens,
            steps=len(steps),
            macs=sum((macs for macs, _, _ in steps), Cost()),
            weight_bytes=sum((read for _, read, _ in steps), Cost()),
            cache_bytes=sum(cache for *_, cache in steps),
            seconds=seconds,
            memory_bound=share,
        )
