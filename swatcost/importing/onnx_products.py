"""Products of vectors, matrices and batches of them: Gemm, MatMul, Einsum, Attention."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import zip_longest
from math import prod

from swatcost.importing.onnx_readings import Call, NotReadError, Reading, reads
from swatcost.importing.values import Value
from swatcost.network.attention import Attention, pairs_of


@reads("Gemm")
def _gemm(call: Call) -> Iterable[Reading]:
    left, right = call.needed(0), call.needed(1)
    left = left.transposed if call.attribute("transA", 0) else left
    right = right.transposed if call.attribute("transB", 0) else right
    yield matmul(left, right, call.input(2))


@reads("MatMul", "MatMulInteger")
def _matmul(call: Call) -> Iterable[Reading]:
    yield matmul(call.needed(0), call.needed(1), added_to(call))


@reads("QLinearMatMul")
def _quantised(call: Call) -> Iterable[Reading]:
    yield matmul(call.needed(0), call.needed(3))


def added_to(call: Call) -> Value | None:
    """The bias that the only reader of a product adds to it: one number per column."""
    readers = call.near.read_by.get(call.outputs[0].name, [])
    if len(readers) != 1 or readers[0].op_type != "Add":
        return None
    other = next((each for each in readers[0].input if each != call.outputs[0].name), "")
    bias, columns = call.near.values.get(other), call.result_shape()[-1:]
    return bias if bias is not None and bias.is_weight and bias.shape == columns else None


def matmul(left: Value, right: Value, bias: Value | None = None) -> Reading:
    """A product of vectors, matrices or batches of them; a linear layer if one operand, and not both, is a weight."""
    left = left.reshaped(1, *left.known_shape) if len(left.known_shape) == 1 else left
    right = right.reshaped(*right.known_shape, 1) if len(right.known_shape) == 1 else right
    if left.known_shape[-1:] != right.known_shape[-2:-1]:
        raise ValueError(f"{left.shape} cannot be multiplied by {right.shape}")
    if right.is_weight and not left.is_weight:
        return _linear(left, right, bias)
    if left.is_weight and not right.is_weight:
        return _linear(right.transposed, left.transposed, bias)
    return product(left, right)


def _linear(input: Value, weight: Value, bias: Value | None) -> Reading:
    """Rows times a matrix (in, out), or times one matrix per group."""
    *matrices, features_in, features_out = weight.known_shape
    groups = prod(matrices)
    rows = input.known_shape[:-1]
    if groups > 1:
        whole = prod(_broadcast(rows[:-1], tuple(matrices))) * rows[-1]
        rows = (whole // groups,)
    return Reading(
        kind="linear",
        input=input.reshaped(*rows, groups * features_in),
        weight=weight.reshaped(groups * features_out, features_in),
        others=(bias,),
        output_shape=(*rows, groups * features_out),
        groups=groups,
    )


def product(left: Value, right: Value) -> Reading:
    """A product of two matrices, or of two batches of them, either of which may be broadcast to the other."""
    *batch, rows, common = left.known_shape
    *others, _, columns = right.known_shape
    whole = _broadcast(tuple(batch), tuple(others))
    padded = (1,) * (len(whole) - len(others))
    return Reading(
        kind="product",
        input=left.reshaped(*whole, rows, common),
        weight=right.reshaped(*padded, *others, common, columns),
        output_shape=(*whole, rows, columns),
    )


def _broadcast(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    sizes = list(zip_longest(reversed(left), reversed(right), fillvalue=1))
    if any(1 not in pair and pair[0] != pair[1] for pair in sizes):
        raise ValueError(f"batches of {left} and {right} matrices cannot be multiplied")
    return tuple(0 if 0 in pair else max(pair) for pair in reversed(sizes))


@reads("Einsum")
def _einsum(call: Call) -> Iterable[Reading]:
    """A sum over indices of a product of two tensors; without such indices it is elementwise, and not counted."""
    equation = str(call.attribute("equation", "")).replace(" ", "")
    operands = [call.needed(place) for place in range(len(call.inputs))]
    if len(operands) == 1:
        return
    if len(operands) != 2:
        raise NotReadError
    (left, right), result = _labels(equation, operands)
    if any(len({*labels}) < len(labels) for labels in (left, right)):
        raise NotReadError  # a diagonal
    sizes: dict[str, int] = {}
    for labels, operand in zip((left, right), operands, strict=True):
        for label, size in zip(labels, operand.known_shape, strict=True):
            sizes[label] = size if sizes.get(label, 1) == 1 else sizes[label]
    kept = set(result)
    summed = [each for each in left if each in right and each not in kept]
    if not summed:
        return
    batch = [each for each in left if each in right and each in kept]
    rows = [each for each in left if each not in right and each in kept]
    columns = [each for each in right if each not in left and each in kept]

    several, first, second = [sizes[each] for each in batch], *operands
    M, K, N = (prod(sizes[each] for each in labels) for labels in (rows, summed, columns))
    yield matmul(first.reshaped(*several, M, K), second.reshaped(*several, K, N))


def _labels(equation: str, operands: list[Value]) -> tuple[tuple[list[str], list[str]], list[str]]:
    """The indices of two operands and of the result, with those that an ellipsis stands for."""
    terms, _, result = equation.partition("->")
    given = terms.split(",")
    if len(given) != 2:
        raise ValueError(f"the equation {equation!r:.60} has {len(given)} operands, not 2")
    hidden = [
        len(operand.known_shape) - len(term.replace("...", "")) for operand, term in zip(operands, given, strict=True)
    ]
    most = max(hidden)

    def spelt(term: str, count: int) -> list[str]:
        before, dots, after = term.partition("...")
        return [*before, *(f".{each}" for each in range(most - count, most) if dots), *after]

    left, right = (spelt(term, count) for term, count in zip(given, hidden, strict=True))
    for labels, operand in ((left, operands[0]), (right, operands[1])):
        if len(labels) != len(operand.known_shape):
            raise ValueError(f"the equation {equation!r:.60} does not fit {operand.shape}")
    if "->" not in equation:
        once = sorted(each for each in {*left, *right} if (left + right).count(each) == 1 and each[0] != ".")
        return (left, right), [f".{each}" for each in range(most)] + once
    return (left, right), spelt(result, most)


@reads("Attention")
def _attention(call: Call) -> Iterable[Reading]:
    """Q · Kᵀ and P · V; in grouped-query attention each head of Q counts its own products with K and V."""
    query = _heads_first(call.needed(0), call.attribute("q_num_heads", 0))
    key, value = (_heads_first(call.needed(place), call.attribute("kv_num_heads", 0)) for place in (1, 2))
    past = call.input(4)
    earlier = past.known_shape[2] if past is not None else 0
    (batch, heads, queries, features), (_, groups, keys, _) = query.known_shape, key.known_shape
    keys += earlier
    masked, causal = call.input(3) is not None, bool(call.attribute("is_causal", 0))
    told = None
    if min(batch, heads, queries, keys) > 0:
        whole, in_window, needed = pairs_of(batch, heads, queries, keys, causal=causal and not earlier)
        told = Attention(
            queries=batch * queries, pairs=whole, in_window=in_window, needed=needed,
            causal=None if masked or (causal and earlier) else causal, computes_scores=True,
        )  # fmt: skip
    yield replace(product(query, key.reshaped(batch, groups, features, keys)), attention=told)
    scores = replace(query, needs_grad=query.needs_grad or key.needs_grad).reshaped(batch, heads, queries, keys)
    values = product(scores, value.reshaped(batch, groups, keys, value.known_shape[-1]))
    yield replace(values, attention=told and replace(told, computes_scores=False))


def _heads_first(value: Value, heads: int) -> Value:
    """(batch, heads, positions, features) from that or from (batch, positions, heads · features)."""
    shape = value.known_shape
    if len(shape) == 4:
        return value
    if len(shape) != 3 or heads < 1 or shape[2] % heads:
        raise ValueError(f"attention of {heads} heads cannot read {value.shape}")
    return value.reshaped(shape[0], heads, shape[1], shape[2] // heads)
