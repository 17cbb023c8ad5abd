"""The keys and values that each attention of a language model keeps of the tokens before: its cache."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from swatcost.common.errors import SwatcostError
from swatcost.network import Layer, Network

LATENT = "kv_a_proj"
"""How modules are called that project to what latent attention caches: in DeepSeek-V2 and V3, and what follows them."""


@dataclass(frozen=True, kw_only=True)
class KeyValueCache:
    """What one attention keeps of each token, in elements, and what a token pays for each key that it reads.

    `keys` and `values` are those of all key heads; of latent attention `latent` holds both, 0 for any other. `macs` are
    the MACs of one query token with one key, over all query heads: heads · (d_qk + d_v); `latent_macs` those on the
    latent cache itself, heads · (latent + rank). `window` is the number of keys that a query reads at most, None if the
    trace shows no window; `is_told` says that the trace shows the attention to be causal.

    Source: DeepSeek-V2 (2024), Section 2.1, whose Table 1 has the elements: 2 · heads · d, 2 · groups · d, or
    d_c + d_rope.
    """

    name: str
    keys: int
    values: int
    latent: int
    macs: int
    latent_macs: int
    window: int | None
    is_told: bool

    @property
    def elements(self) -> int:
        """Elements kept per token."""
        return self.latent or self.keys + self.values

    @property
    def macs_per_key(self) -> int:
        """MACs of one token with one key of the cache that is kept."""
        return self.latent_macs if self.latent else self.macs

    def held(self, tokens: int) -> int:
        """How many of a sequence's first `tokens` tokens the cache holds, and the last of them reads."""
        return tokens if self.window is None else min(tokens, self.window)


def caches_of(network: Network) -> list[KeyValueCache]:
    """The caches of a language model's attentions, in execution order.

    Raises SwatcostError if the network is not a language model, or has attention whose keys cannot be cached.
    """
    positions = network.tokens_per_sample
    if not positions or network.output_layer is None:
        raise SwatcostError(
            f"{network.name} is not a language model that generates tokens: its inputs have to be tokens, and its last "
            "linear layer has to score a vocabulary"
        )
    if len(network.input_shapes) > 1:
        raise SwatcostError(
            f"{network.name} takes {len(network.input_shapes)} inputs: only a decoder of one sequence has a cache here"
        )
    found = [_cache(network, scores, values, positions) for scores, values in attention_pairs(network)]
    if custom := [each.name for each in network.layers if each.kind == "custom" and each.attention is not None]:
        raise SwatcostError(f"{custom[0]}: the trace has its attention as a whole, without keys and values")
    if not found:
        raise SwatcostError(f"{network.name} has no attention, and only its keys and values are cached here")
    return found


def attention_pairs(network: Network) -> Iterator[tuple[Layer, Layer]]:
    """The products Q · Kᵀ and P · V of each attention, kernel or not: the second reads what the first gives."""
    products = [each for each in network.counted_layers if each.kind == "product" and not each.per_step]
    for scores, values in pairwise(products):
        same = scores.name == values.name and prod(scores.output_shape) == prod(values.input_shape)
        reads = scores.output_shape[-2:] == values.input_shape[-2:]
        kernel = scores.attention is not None and not scores.attention.computes_scores
        if same and reads and not kernel:
            yield scores, values


def _cache(network: Network, scores: Layer, values: Layer, positions: float) -> KeyValueCache:
    told, samples = scores.attention, network.batch_size
    (*_, queries, d_qk), (*_, keys), d_v = scores.input_shape, scores.weight_shape, values.output_shape[-1]
    if not queries == keys == positions:
        raise SwatcostError(
            f"{scores.name}: {queries:,} queries and {keys:,} keys are not the {positions:,} tokens of a sample: "
            "only a language model's attention to its own tokens has a cache here"
        )
    if told is not None and told.causal is False:
        raise SwatcostError(f"{scores.name}: its attention is not causal, so keys cannot be cached")
    heads = prod(scores.input_shape[:-2]) // samples
    window = None
    if told is not None and told.in_window < told.pairs:
        window = told.in_window * keys // told.pairs
    latent, rank = _latent(network, scores.name)
    copies = told.key_copies if told is not None else 1
    return KeyValueCache(
        name=scores.name,
        keys=prod(scores.weight_shape) // (samples * keys * copies),
        values=prod(values.weight_shape) // (samples * keys * copies),
        latent=latent,
        macs=heads * (d_qk + d_v),
        latent_macs=heads * (latent + rank),
        window=window,
        is_told=told is not None and told.causal is True,
    )


def _latent(network: Network, attention: str) -> tuple[int, int]:
    """Features of the latent that an attention caches, with and without its rotary part; zeros if it has none."""
    inside = [each for each in network.weight_layers if each.name.startswith(f"{attention}.")]
    down = next((each for each in inside if each.name.rpartition(".")[2].startswith(LATENT)), None)
    up = next((each for each in inside if each.name.rpartition(".")[2].startswith("kv_b_proj")), None)
    return (0, 0) if down is None or up is None else (down.weight_shape[0], up.weight_shape[1])
