"""Fused attention by all its names, in the layouts of the libraries behind it."""

from collections.abc import Iterable
from functools import partial
from itertools import pairwise
from operator import mul
from typing import Any

from swatcost.tracing.operands import Call, Operand, Reading
from swatcost.tracing.product_readers import executed, product
from swatcost.tracing.reader_registry import NotReadError, arguments, reads


@reads(
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_fused_attention_overrideable",
    "_scaled_dot_product_attention_math_for_mps",
    "_triton_scaled_dot_attention",
)
def _heads_first(call: Call) -> Iterable[Reading]:
    return attention(*call.args[:3])


def _heads_last(operation: str, starts: tuple[str, str], call: Call) -> Iterable[Reading]:
    """(batch, positions, heads, features); or, with `starts` of the sequences, sequences of any length in one batch."""
    given: Any = arguments(operation, call)
    query, key, value = given["query"], given["key"], given["value"]
    of_queries, of_keys = (given[each] for each in starts)
    if isinstance(of_queries, Operand) and isinstance(of_keys, Operand):
        yield _sequences(query, key, value, _lengths(call, of_queries), _lengths(call, of_keys))
    else:
        yield from attention(*map(_with_heads_first, (query, key, value)))


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
    return attention(given["query"], given["key"], given["value"])


@reads("flex_attention")
def _flex(call: Call) -> Iterable[Reading]:
    query, key, value, pairs = call.args
    if pairs is None:
        raise NotReadError
    yield _of_pairs(query, key, value, pairs)


def attention(query: Operand, key: Operand, value: Operand) -> Iterable[Reading]:
    """Q · Kᵀ and P · V; in grouped-query attention each head of Q counts its own products with K and V."""
    yield product(query, key.transposed)
    scores = query.reshaped(*query.shape[:-1], key.shape[-2])  # no tensor holds them; their gradient is that of Q and K
    yield product(scores._replace(needs_grad=query.needs_grad or key.needs_grad), value)


def _with_heads_first(operand: Operand) -> Operand:
    batch, positions, heads, features = operand.shape
    return operand.reshaped(batch, heads, positions, features)


def _lengths(call: Call, starts: Operand) -> list[int]:
    """The lengths of sequences whose starts are given, with the end of the last one."""
    values = call.values(starts)
    if values is None:
        raise NotReadError
    return [end - start for start, end in pairwise(values)]


def _sequences(query: Operand, key: Operand, value: Operand, queries: list[int], keys: list[int]) -> Reading:
    """Attention within each of several sequences."""
    return _of_pairs(query, key, value, query.shape[-2] * sum(map(mul, queries, keys)))


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
