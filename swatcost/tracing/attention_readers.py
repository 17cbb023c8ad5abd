"""Fused attention by all its names, in the layouts of the libraries behind it."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise
from math import prod
from typing import Any

from swatcost.network.attention import Attention, pairs_of
from swatcost.tracing.operands import Call, Mask, Operand, Reading
from swatcost.tracing.product_readers import executed, product
from swatcost.tracing.reader_registry import NotReadError, arguments, reads


def _heads_first(operation: str, call: Call) -> Iterable[Reading]:
    query, key, value = call.args[:3]
    return attention(query, key, value, _told(operation, call, query, key))


for _operation in (
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_fused_attention_overrideable",
    "_scaled_dot_product_attention_math_for_mps",
    "_triton_scaled_dot_attention",
):
    reads(_operation)(partial(_heads_first, _operation))


def _heads_last(operation: str, starts: tuple[str, str], call: Call) -> Iterable[Reading]:
    """(batch, positions, heads, features); or, with `starts` of the sequences, sequences of any length in one batch."""
    given: Any = arguments(operation, call)
    query, key, value = given["query"], given["key"], given["value"]
    of_queries, of_keys = (given[each] for each in starts)
    if isinstance(of_queries, Operand) and isinstance(of_keys, Operand):
        lengths = _lengths(call, of_queries), _lengths(call, of_keys)
        yield _sequences(query, key, value, *lengths, *_limits(given))
    else:
        query, key, value = map(_with_heads_first, (query, key, value))
        yield from attention(query, key, value, _told(operation, call, query, key))


for _operation, _starts in {
    "_flash_attention_forward": ("cum_seq_q", "cum_seq_k"),
    "_flash_attention_forward_no_dropout_inplace": ("cum_seq_q", "cum_seq_k"),
    "_efficient_attention_forward": ("cu_seqlens_q", "cu_seqlens_k"),
}.items():
    reads(_operation)(partial(_heads_last, _operation, _starts))


@reads("_cudnn_attention_forward")
def _cudnn(call: Call) -> Iterable[Reading]:
    given: Any = arguments("_cudnn_attention_forward", call)
    if isinstance(given["cum_seq_q"], Operand):
        return _heads_last("_cudnn_attention_forward", ("cum_seq_q", "cum_seq_k"), call)
    query, key, value = given["query"], given["key"], given["value"]
    return attention(query, key, value, _told("_cudnn_attention_forward", call, query, key))


@reads("flex_attention")
def _flex(call: Call) -> Iterable[Reading]:
    query, key, value, pairs = call.args
    if pairs is None:
        raise NotReadError
    yield _of_pairs(query, key, value, pairs)


def attention(query: Operand, key: Operand, value: Operand, told: Attention | None = None) -> Iterable[Reading]:
    """Q · Kᵀ and P · V; in grouped-query attention each head of Q counts its own products with K and V."""
    yield replace(product(query, key.transposed), attention=told)
    scores = query.reshaped(*query.shape[:-1], key.shape[-2])  # no tensor holds them; their gradient is that of Q and K
    values = product(scores._replace(needs_grad=query.needs_grad or key.needs_grad), value)
    yield replace(values, attention=told and replace(told, computes_scores=False))


_MASKS = ("attn_mask", "attn_bias", "bias")
_CAUSAL = {0: False, 1: True}  # efficient attention's custom_mask_type; 2 aligns the last query with the last key


def _limits(given: Mapping[str, Any]) -> tuple[bool | None, tuple[int, int]]:
    """Whether a kernel with these arguments masks keys behind their query, and its window; None: a mask decides."""
    left, right = (given.get(f"window_size_{side}") for side in ("left", "right"))
    window = (-1 if left is None else left, -1 if right is None else right)
    if any(isinstance(given.get(each), Operand) for each in _MASKS):
        return None, window
    causal: bool | None = _CAUSAL.get(given["custom_mask_type"]) if "custom_mask_type" in given else given["is_causal"]
    return causal, window


def _told(operation: str, call: Call, query: Operand, key: Operand) -> Attention | None:
    """What a kernel of this name is told of queries (…, heads, positions, features)."""
    *sequences, heads, queries, _ = query.shape
    if not prod(query.shape) or not prod(key.shape):
        return None
    given = arguments(operation, call)
    causal, window = _limits(given) if "is_causal" in given or "custom_mask_type" in given else (False, (-1, -1))
    sizes = prod(sequences), heads, queries, key.shape[-2]
    mask = None if causal is not None else _mask(call, given)
    if mask is None:
        pairs = pairs_of(*sizes, causal=bool(causal), window=window)
    else:
        whole, in_window, _ = pairs_of(*sizes, causal=mask.causal, window=(mask.left, mask.right))
        pairs = whole, in_window if mask.is_band else whole, int(whole * mask.fraction)
        causal = mask.causal
    return replace(_attention_of(sizes[0] * queries, pairs, causal), key_copies=key.copies)


def _mask(call: Call, given: Mapping[str, Any]) -> Mask | None:
    """What a kernel's mask leaves, if its values are known and it is the only one."""
    masks = [given[each] for each in _MASKS if isinstance(given.get(each), Operand)]
    if len(masks) != 1 or given.get("is_causal") or given.get("custom_mask_type"):
        return None
    return call.mask(masks[0])


def _attention_of(queries: int, pairs: tuple[int, int, int], causal: bool | None) -> Attention:
    whole, in_window, needed = pairs
    return Attention(
        queries=queries, pairs=whole, in_window=in_window, needed=needed, causal=causal, computes_scores=True
    )


def _with_heads_first(operand: Operand) -> Operand:
    batch, positions, heads, features = operand.shape
    return operand.reshaped(batch, heads, positions, features)


def _lengths(call: Call, starts: Operand) -> list[int]:
    """The lengths of sequences whose starts are given, with the end of the last one."""
    values = call.values(starts)
    if values is None:
        raise NotReadError
    return [end - start for start, end in pairwise(values)]


def _sequences(
    query: Operand,
    key: Operand,
    value: Operand,
    queries: list[int],
    keys: list[int],
    causal: bool | None,
    window: tuple[int, int],
) -> Reading:
    """Attention within each of several sequences."""
    heads = query.shape[-2]
    each = [
        pairs_of(1, heads, *lengths, causal=bool(causal), window=window) for lengths in zip(queries, keys, strict=True)
    ]
    whole, in_window, needed = map(sum, zip(*each, strict=True))
    reading = _of_pairs(query, key, value, whole)
    return replace(
        reading, attention=_attention_of(sum(queries), (whole, in_window, needed), causal) if whole else None
    )


def _of_pairs(query: Operand, key: Operand, value: Operand, pairs: int) -> Reading:
    """Attention over that many query–key pairs; each operand's gradient costs what the forward product does.

    Q · Kᵀ and P · V have two operands each: the scores' gradient is needed where Q or K has one.
    """
    scores, values = pairs * query.shape[-1], pairs * value.shape[-1]
    of_scores = query.needs_grad or key.needs_grad
    gradients = scores * (query.needs_grad + key.needs_grad) + values * (of_scores + value.needs_grad)
    return Reading(
        kind="custom",
        input=query._replace(needs_grad=gradients > 0),
        output_shape=(*query.shape[:-1], value.shape[-1]),
        custom_macs=(scores + values, gradients),
    )


@reads(
    "_scaled_dot_product_flash_attention_for_cpu_backward",
    "_scaled_dot_product_flash_attention_backward",
    "_scaled_dot_product_efficient_attention_backward",
    "_scaled_dot_product_cudnn_attention_backward",
    "_scaled_dot_product_fused_attention_overrideable_backward",
)
def _gradients(call: Call) -> Iterable[Reading]:
    """The gradients of Q, K and V where the network itself computes them, without the scores that are recomputed."""
    _, query, key, value = call.args[:4]
    pairs = query.elements // query.shape[-1] * key.shape[-2]
    macs = 2 * pairs * (query.shape[-1] + value.shape[-1])
    yield executed(macs, query)
