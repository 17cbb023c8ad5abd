"""Products of vectors, matrices and batches of them, by all their names."""

from collections.abc import Iterable
from math import prod

from torch import nn

from swatcost.tracing.operands import Call, Operand, Reading, real_products
from swatcost.tracing.reader_registry import NotReadError, reads
from swatcost.tracing.running_modules import Frame, is_torchs


@reads("mm", "bmm", "mv", "dot", "vdot", "_int_mm", "_scaled_mm", "_scaled_mm_v2")
def _multiplied(call: Call) -> Iterable[Reading]:
    yield matmul(call.args[0], call.args[1], None, call.frame)


@reads(
    *("addmm", "baddbmm", "addbmm", "addmv", "_addmm_activation"),
    *("addmm_", "baddbmm_", "addbmm_", "addmv_"),
)
def _multiplied_and_added(call: Call) -> Iterable[Reading]:
    yield matmul(call.args[1], call.args[2], call.args[0], call.frame)


@reads("addr", "addr_")
def _outer_product(call: Call) -> Iterable[Reading]:
    yield matmul(column(call.args[1]), row(call.args[2]), call.args[0], call.frame)


@reads("_foreach_mm")
def _several(call: Call) -> Iterable[Reading]:
    for left, right in zip(*call.args[:2], strict=True):
        yield matmul(left, right, None, call.frame)


@reads("mkldnn_linear")
def _mkldnn_linear(call: Call) -> Iterable[Reading]:
    input, weight, *bias = call.args
    yield matmul(input, weight.transposed, bias[0] if bias else None, call.frame)


@reads("_euclidean_dist")
def _distances(call: Call) -> Iterable[Reading]:
    """The product inside |x|² − 2 x · y + |y|²; the two columns in which torch adds the squares are not counted."""
    x, y = call.args
    yield matmul(x, y.transposed, None, call.frame)


@reads("_weight_int8pack_mm")
def _whole_numbers(call: Call) -> Iterable[Reading]:
    yield matmul(call.args[0], call.args[1].transposed, None, call.frame)


@reads(
    "_weight_int4pack_mm",
    "_weight_int4pack_mm_for_cpu",
    "_weight_int4pack_mm_with_scales_and_zeros",
    "_dyn_quant_matmul_4bit",
    "_mixed_dtypes_linear",
)
def _packed_weight(call: Call) -> Iterable[Reading]:
    """Rows times a matrix whose storage has a layout of its own; the result tells its size."""
    input, packed = call.args[:2]
    yield product(input, packed.reshaped(*input.shape[:-2], input.shape[-1], call.result.shape[-1]))


@reads("quantized.linear", "quantized.linear_relu", "quantized.linear_dynamic", "quantized.linear_relu_dynamic")
def _quantised_linear(call: Call) -> Iterable[Reading]:
    """Rows times a weight that is an object, not a tensor."""
    input = call.args[0]
    yield custom(input.elements * call.result.shape[-1], (input,), call.result.shape)


@reads("_grouped_mm", "_scaled_grouped_mm", "_scaled_grouped_mm_v2", "transformers.grouped_mm_fallback")
def _grouped(call: Call) -> Iterable[Reading]:
    """One product per group, which divide the rows, the columns or the sum of one large product among each other.

    (tokens, K) by (experts, K, N): each token meets the matrix of one expert, which makes tokens · K · N, however many
    tokens each expert gets. Rows behind the last group, which a kernel skips, are counted.
    """
    left, right = call.args[:2]
    if len(left.shape) == 3 and len(right.shape) == 2:  # the columns are divided: transposed, the rows are
        left, right = right.transposed, left.transposed
    (*_, tokens, _), (groups, *_) = left.shape, right.shape
    if len(left.shape) == len(right.shape):  # as many products as matrices, or groups of the sum in a weight's gradient
        yield matmul(left, right, None, call.frame)
    elif right.is_weight:
        yield routed(left, right)
    elif tokens % groups:
        yield _uneven(left, right, call.result)
    else:
        yield matmul(left.reshaped(groups, tokens // groups, left.shape[-1]), right, None, call.frame)


def routed(input: Operand, weight: Operand) -> Reading:
    """Rows (…, in) times one of the matrices (experts, in, out) each."""
    experts, features_in, features_out = weight.shape
    return Reading(
        kind="linear",
        input=input,
        weight=weight.reshaped(experts * features_out, features_in),
        output_shape=(*input.shape[:-1], features_out),
        groups=experts,
        routed=True,
    )


def _uneven(left: Operand, right: Operand, result: Operand) -> Reading:
    """A product whose groups have different sizes, recorded as custom."""
    return custom(result.elements * left.shape[-1], (left, right), result.shape)


@reads("_trilinear")
def _bilinear(call: Call) -> Iterable[Reading]:
    """Σ x1[i] W[o, i, j] x2[j], as nn.Bilinear asks for it: x1 by the weight, and what that gives by x2."""
    x1, weight, x2, *expanded = call.args[:6]
    if expanded != [[1, 3], [0], [1, 2]] or len(x1.shape) != 2 or len(weight.shape) != 3:
        raise NotReadError
    (rows, features), (outputs, _, others) = x1.shape, weight.shape
    between = Operand(x1.place, (rows, outputs * others), x1.needs_grad or weight.needs_grad, numbers=x1.numbers)
    yield Reading(
        kind="linear",
        input=x1,
        weight=weight.reshaped(outputs * others, features),
        output_shape=between.shape,
    )
    yield product(between.reshaped(rows, outputs, others), x2.reshaped(rows, others, 1))


def matmul(left: Operand, right: Operand, added: Operand | None, frame: Frame) -> Reading:
    """A product of vectors, matrices or batches of them; a linear layer if either operand is a weight."""
    if "packed" in (left.numbers, right.numbers):
        raise NotReadError
    if right.chosen_of:
        return _by_chosen(left, right)
    if left.chosen_of:
        return _by_chosen(right.transposed, left.transposed)
    left = row(left) if len(left.shape) == 1 else left
    right = column(right) if len(right.shape) == 1 else right
    if right.is_weight or (is_torchs(nn.Linear, frame) and frame.module.in_features == right.shape[-2]):
        return _linear(left, right, added, frame)
    if left.is_weight:
        return _linear(right.transposed, left.transposed, added, frame)
    return product(left, right)


def _by_chosen(input: Operand, weight: Operand) -> Reading:
    """Rows, each of which was given the matrix of its expert: the experts' products, however they are executed."""
    *rows, features = input.shape
    rows = rows[:1] if rows[1:] == [1] else rows
    return routed(input.reshaped(*rows, features), weight.reshaped(weight.chosen_of, *weight.shape[1:]))


def row(vector: Operand) -> Operand:
    """The vector as a matrix of one row."""
    return vector.reshaped(1, *vector.shape)


def column(vector: Operand) -> Operand:
    """The vector as a matrix of one column."""
    return vector.reshaped(*vector.shape, 1)


def _linear(input: Operand, weight: Operand, bias: Operand | None, frame: Frame) -> Reading:
    """Rows times a matrix (in, out), or times one matrix per group."""
    features_in, features_out = weight.shape[-2:]
    groups = weight.matrices
    rows = input.shape[:-1]
    if groups > 1:
        rows = rows[1:]
    elif is_torchs(nn.Linear, frame):
        given = next(iter(frame.shapes), ())
        if given[-1:] == (features_in,) and prod(given) == input.elements:
            rows = given[:-1]  # the module's input shape, before its rows were flattened
    return Reading(
        kind="linear",
        input=input.reshaped(*rows, groups * features_in),
        weight=weight.reshaped(groups * features_out, features_in),
        others=(bias,),
        output_shape=(*rows, groups * features_out),
        groups=groups,
    )


def product(left: Operand, right: Operand) -> Reading:
    """A product of two matrices, or of two batches of them, that the network computes."""
    return Reading(kind="product", input=left, weight=right, output_shape=(*left.shape[:-1], right.shape[-1]))


def custom(macs: int, operands: tuple[Operand, ...], output_shape: tuple[int, ...]) -> Reading:
    """Work that no kind of layer describes: so many MACs forward, and again for the gradient of each operand.

    The first operand is recorded as the input.
    """
    gradients = sum(each.needs_grad for each in operands)
    macs *= real_products(*operands)
    return Reading(
        kind="custom",
        input=operands[0]._replace(needs_grad=gradients > 0),
        output_shape=output_shape,
        custom_macs=(macs, macs * gradients),
    )


@reads("affine_grid_generator")
def _affine_grid(call: Call) -> Iterable[Reading]:
    """Every position of the grid times each image's matrix of (2, 3), in three dimensions of (3, 4)."""
    theta, (images, _, *sizes) = call.args[:2]
    yield custom(images * prod(sizes) * prod(theta.shape[1:]), (theta,), call.result.shape)


def executed(macs: int, input: Operand) -> Reading:
    """A gradient that the network itself computes; what its own gradients take is seen in the backward pass."""
    return Reading(
        kind="custom", input=input._replace(needs_grad=False), output_shape=input.shape, custom_macs=(macs, 0)
    )
