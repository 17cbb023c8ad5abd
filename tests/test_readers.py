"""What readers return for one operation: shapes in, a description out, and no module is run."""

from __future__ import annotations

import re
from math import prod
from typing import Any

import pytest
import torch
from torch import nn

from swatcost import SwatcostError
from swatcost.network.formulas import Formula
from swatcost.tracing.operands import Call, Operand, Reading
from swatcost.tracing.operations import MOVES, may_multiply_tensors
from swatcost.tracing.reader_registry import NotReadError
from swatcost.tracing.readers import READERS, SPARSE_READERS, formula_reader
from swatcost.tracing.running_modules import Frame

ANYWHERE = Frame("block", nn.Sequential())


class Operands:
    """Operands of one call: each has the next place."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, *shape: int, needs_grad: bool = True, is_weight: bool = False, matrices: int = 1) -> Operand:
        self.made += 1
        return Operand(self.made - 1, shape, needs_grad=needs_grad, is_weight=is_weight, matrices=matrices)

    def weight(self, *shape: int, matrices: int = 1) -> Operand:
        return self(*shape, is_weight=True, matrices=matrices)


@pytest.fixture
def operand() -> Operands:
    return Operands()


def read(operation: str, *args: Any, result: Any, frame: Frame = ANYWHERE) -> list[Reading]:
    return list(READERS[operation](Call(args, result, frame)))


def shapes(reading: Reading) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    assert reading.weight is not None
    return reading.input.shape, reading.weight.shape, reading.output_shape


def macs(reading: Reading) -> int:
    """Of a linear layer or a product: each number of the result is a sum over what its operands share."""
    return prod(reading.output_shape) * reading.input.shape[-1] // reading.groups


def test_a_grouped_convolution(operand: Operands) -> None:
    image, kernel, bias = operand(2, 6, 9, 9), operand.weight(4, 3, 3, 3), operand.weight(4)
    size = (9 + 2 * 1 - 3) // 2 + 1
    result = operand(2, 4, size, size)
    [conv] = read("convolution", image, kernel, bias, [2, 2], [1], [1, 1], False, [0, 0], 2, result=result)
    assert (conv.kind, conv.groups, conv.stride, conv.padding, conv.dilation) == ("conv", 2, (2, 2), (1, 1), (1, 1))
    assert shapes(conv) == ((2, 3 * 2, 9, 9), (4, 3, 3, 3), (2, 4, 5, 5))
    assert (conv.input, conv.weight, conv.others) == (image, kernel, (bias,))


def test_a_transposed_convolution(operand: Operands) -> None:
    image, kernel = operand(2, 6, 5, 5), operand.weight(6, 3, 2, 2)
    result = operand(2, 3, (5 - 1) * 2 + 2, (5 - 1) * 2 + 2)
    [conv] = read("convolution", image, kernel, None, [2, 2], [0, 0], [1, 1], True, [0, 0], 1, result=result)
    assert (conv.kind, conv.stride, conv.padding, conv.others) == ("transposed_conv", (2, 2), (0, 0), (None,))
    assert shapes(conv) == ((2, 6, 5, 5), (6, 3, 2, 2), (2, 3, 10, 10))


@pytest.mark.parametrize(
    ("transposed", "kernel", "result", "forward"),
    [
        (False, (2, 8, 3, 3), (4, 2, 3, 3), 4 * (3 * 3) * (2 * 8 * 3 * 3)),  # the kernel meets the result's positions
        (True, (8, 2, 3, 3), (4, 2, 7, 7), 4 * (5 * 5) * (8 * 2 * 3 * 3)),  # the kernel meets the input's positions
    ],
)
def test_a_computed_kernel_makes_a_product_of_activations(
    operand: Operands, transposed: bool, kernel: tuple[int, ...], result: tuple[int, ...], forward: int
) -> None:
    args = operand(4, 8, 5, 5, needs_grad=False), operand(*kernel), None, [1, 1], [0, 0], [1, 1], transposed, [0, 0], 1
    [product] = read("convolution", *args, result=operand(*result))
    assert (product.kind, product.weight) == ("custom", None)
    assert product.custom_macs == (forward, forward * 1)  # only the kernel needs a gradient
    assert product.input.needs_grad  # but some gradient is computed


def test_a_computed_kernel_in_a_module_of_its_own_is_that_modules_weight(operand: Operands) -> None:
    args = operand(4, 8, 5, 5), operand(2, 8, 3, 3), None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1
    [conv] = read("convolution", *args, result=operand(4, 2, 3, 3), frame=Frame("conv", nn.Conv2d(8, 2, 3)))
    assert conv.kind == "conv"


def test_addmm_is_a_linear_layer_whose_last_argument_is_the_weight(operand: Operands) -> None:
    bias, rows, weight = operand.weight(5), operand(6, 8), operand.weight(8, 5)
    [linear] = read("addmm", bias, rows, weight, result=operand(6, 5))
    assert linear.kind == "linear"
    assert shapes(linear) == ((6, 8), (5, 8), (6, 5))
    assert (linear.input.place, linear.weight and linear.weight.place, linear.others) == (1, 2, (bias,))
    assert macs(linear) == 6 * 8 * 5


def test_a_linear_module_keeps_the_rows_it_was_called_with(operand: Operands) -> None:
    frame = Frame("fc", nn.Linear(8, 5), (torch.empty(2, 3, 8, device="meta"),))
    [linear] = read("addmm", operand(5), operand(6, 8), operand(8, 5), result=operand(6, 5), frame=frame)
    assert shapes(linear) == ((2, 3, 8), (5, 8), (2, 3, 5))  # 2 · 3 = 6 rows


def test_a_weight_on_the_left_multiplies_columns(operand: Operands) -> None:
    weight, columns = operand.weight(7, 8), operand(8, 3, needs_grad=False)
    [linear] = read("mm", weight, columns, result=operand(7, 3))
    assert shapes(linear) == ((3, 8), (7, 8), (3, 7))  # (W · X)ᵀ = Xᵀ · Wᵀ
    assert (linear.input.place, linear.input.needs_grad, linear.weight and linear.weight.needs_grad) == (1, False, True)


@pytest.mark.parametrize(
    ("operation", "left", "right", "expected"),
    [
        ("mv", (4, 8), (8,), ((4, 8), (8, 1), (4, 1))),
        ("dot", (8,), (8,), ((1, 8), (8, 1), (1, 1))),
        ("bmm", (3, 4, 8), (3, 8, 5), ((3, 4, 8), (3, 8, 5), (3, 4, 5))),
    ],
)
def test_products_of_activations(
    operand: Operands, operation: str, left: tuple[int, ...], right: tuple[int, ...], expected: Any
) -> None:
    [product] = read(operation, operand(*left), operand(*right), result=None)
    assert (product.kind, shapes(product)) == ("product", expected)


def test_addr_is_a_column_by_a_row(operand: Operands) -> None:
    [product] = read("addr", operand(4, 8), operand(4), operand(8, needs_grad=False), result=operand(4, 8))
    assert shapes(product) == ((4, 1), (1, 8), (4, 8))
    assert (product.input.needs_grad, product.weight and product.weight.needs_grad) == (True, False)
    assert macs(product) == 4 * 8


def test_baddbmm_with_the_weights_of_three_experts(operand: Operands) -> None:
    experts = operand.weight(3, 8, 5, matrices=3)
    [linear] = read("baddbmm", operand.weight(5), operand(3, 4, 8), experts, result=operand(3, 4, 5))
    assert (linear.kind, linear.groups) == ("linear", 3)
    assert shapes(linear) == ((4, 3 * 8), (3 * 5, 8), (4, 3 * 5))  # 4 rows each, side by side
    assert macs(linear) == 3 * (4 * 8 * 5)


def test_einsums_bmm_with_one_weight(operand: Operands) -> None:
    """einsum("btd,dhk->bthk") multiplies one batch of 2 · 4 rows of 8 features by a matrix of 2 · 3 columns."""
    [linear] = read("bmm", operand(1, 2 * 4, 8), operand.weight(1, 8, 2 * 3), result=operand(1, 8, 6))
    assert (linear.kind, linear.groups, shapes(linear)) == ("linear", 1, ((1, 8, 8), (6, 8), (1, 8, 6)))
    assert macs(linear) == (2 * 4) * 8 * (2 * 3)


@pytest.mark.parametrize(
    ("gradients", "scores", "values"),
    [
        ((True, True, True), (True, True), (True, True)),
        ((False, True, False), (False, True), (True, False)),  # K's gradient leads through the scores
        ((False, False, True), (False, False), (False, True)),
    ],
)
def test_attention_is_two_products(
    operand: Operands, gradients: tuple[bool, ...], scores: tuple[bool, bool], values: tuple[bool, bool]
) -> None:
    q, k, v = gradients
    # 4 heads of 5 queries, 2 heads of 7 keys; 3 features, and 6 of each value
    args = operand(2, 4, 5, 3, needs_grad=q), operand(2, 2, 7, 3, needs_grad=k), operand(2, 2, 7, 6, needs_grad=v)
    both = read("_scaled_dot_product_efficient_attention", *args, result=(operand(2, 4, 5, 6),))
    assert [shapes(each) for each in both] == [
        ((2, 4, 5, 3), (2, 2, 3, 7), (2, 4, 5, 7)),
        ((2, 4, 5, 7), (2, 2, 7, 6), (2, 4, 5, 6)),
    ]
    assert [macs(each) for each in both] == [2 * 4 * 5 * 3 * 7, 2 * 4 * 5 * 7 * 6]
    assert [(each.input.needs_grad, each.weight and each.weight.needs_grad) for each in both] == [scores, values]
    assert [each.input.place for each in both] == [0, 0]  # the scores live in no tensor


def test_one_layer_of_an_lstm(operand: Operands) -> None:
    steps, batch, features, hidden = 3, 2, 4, 5
    input = operand(steps, batch, features, needs_grad=False)
    weights = operand.weight(4 * hidden, features), operand.weight(4 * hidden, hidden)  # 4 gates
    biases = operand.weight(4 * hidden), operand.weight(4 * hidden)
    state = operand(1, batch, hidden, needs_grad=False)
    output = operand(steps, batch, hidden, needs_grad=False)
    three = read("mkldnn_rnn_layer", input, *weights, *biases, state, result=(output,))
    assert [shapes(each) for each in three] == [
        ((3 * 2, 4), (20, 4), (3 * 2, 20)),
        ((2, 5), (20, 5), (2, 20)),  # the first step reads the state
        ((2 * 2, 5), (20, 5), (2 * 2, 20)),  # the other two read the output
    ]
    assert [each.input.place for each in three] == [input.place, state.place, output.place]
    assert [each.input.needs_grad for each in three] == [False, False, True]
    assert sum(map(macs, three)) == 3 * 2 * 20 * (4 + 5)
    assert {each.others for each in three} == {biases}


def test_a_single_step_leaves_nothing_for_the_others(operand: Operands) -> None:
    args = operand(1, 2, 4), operand.weight(5, 4), operand.weight(5, 5), operand(5), operand(5), operand(1, 2, 5)
    three = read("mkldnn_rnn_layer", *args, result=(operand(1, 2, 5),))
    assert [each.is_empty for each in three] == [False, False, True]


@pytest.mark.parametrize("flattened", [False, True])
def test_two_bidirectional_layers_in_one_kernel(operand: Operands, flattened: bool) -> None:
    """cuDNN runs 2 layers in 2 directions at once, with 2 weights and 2 biases each; layer 2 reads both directions."""
    steps, batch, features, hidden = 3, 2, 4, 5
    input = operand(steps, batch, features)
    weights = [
        operand.weight(*shape)
        for read_features in (features, 2 * hidden)
        for _ in range(2)
        for shape in ((hidden, read_features), (hidden, hidden), (hidden,), (hidden,))
    ]
    state, output = operand(2 * 2, batch, hidden), operand(steps, batch, 2 * hidden)
    rest = (None, 0, hidden, 0, 2, False, 0.0, True, True)  # cx, mode, sizes, layers, …, training, bidirectional
    buffer = operand(sum(prod(each.shape) for each in weights)) if flattened else None
    readings = read("_cudnn_rnn", input, weights, 4, buffer, state, *rest, result=(output,))
    assert len(readings) == 2 * 2 * 3
    assert [each.input.shape for each in readings[::3]] == [(6, 4), (6, 4), (6, 10), (6, 10)]
    assert [each.input.place for each in readings[::3]] == [0, 0, output.place, output.place]
    layer_1, layer_2 = 3 * 2 * 5 * (4 + 5), 3 * 2 * 5 * (10 + 5)
    assert sum(map(macs, readings)) == 2 * layer_1 + 2 * layer_2


@pytest.mark.parametrize(
    ("operation", "between", "module", "kind"),
    [
        ("native_batch_norm", [], nn.BatchNorm2d(6), "batch_norm"),
        ("native_batch_norm", [], nn.InstanceNorm2d(6), "instance_norm"),
        ("native_group_norm", [], nn.GroupNorm(2, 6), "group_norm"),
        ("native_layer_norm", [[6]], nn.LayerNorm(6), "layer_norm"),
    ],
)
def test_normalisations(operand: Operands, operation: str, between: list[Any], module: nn.Module, kind: str) -> None:
    input, scale, shift = operand(2, 6, 4, 6), operand.weight(6), operand.weight(6)
    [norm] = read(operation, input, *between, scale, shift, result=None, frame=Frame("norm", module))
    assert (norm.kind, norm.input, norm.weight, norm.others) == (kind, input, scale, (shift,))
    assert norm.output_shape == input.shape


def test_a_normalisation_without_a_scale(operand: Operands) -> None:
    [norm] = read("_fused_rms_norm", operand(2, 6), [6], None, 1e-6, result=None)
    assert (norm.kind, norm.weight, norm.others) == ("rms_norm", None, (None,))


def by_formula(formula: Formula, *args: Any, result: Any, **kwargs: Any) -> Reading:
    [reading] = formula_reader("mylib.scaled", formula)(Call(args, result, ANYWHERE, kwargs))
    return reading


def test_a_formula_is_called_with_shapes_and_its_gradients_are_those_that_are_needed(operand: Operands) -> None:
    def formula(pair: list[tuple[int, ...]], scale: float, *, mask: tuple[int, ...], out_shape: Any) -> list[int]:
        assert (scale, mask, out_shape) == (0.5, (4, 5), ((4, 5), (1,)))
        a, b = pair
        return [a[0] * a[1] * b[1], 3, 5, 7]  # forward, and the gradients of a, b and mask

    pair = [operand(4, 8), operand(8, 5, needs_grad=False)]
    mask, result = operand(4, 5), (operand(4, 5), operand(1))
    reading = by_formula(formula, pair, 0.5, mask=mask, result=result)
    assert (reading.kind, reading.input, reading.output_shape) == ("custom", pair[0], (4, 5))
    assert reading.custom_macs == (4 * 8 * 5, 3 + 7)


def test_a_formula_for_a_call_without_tensors_is_refused(operand: Operands) -> None:
    with pytest.raises(SwatcostError, match=r"mylib\.scaled takes no tensor"):
        by_formula(lambda *, out_shape: 1, result=operand(3))


CONV = {
    "stride": (2, 2),
    "padding": (1, 1),
    "dilation": (3, 3),
}  # of an image of 11 × 11: (11 + 2 − 3 · 2 − 1) // 2 + 1


@pytest.mark.parametrize(
    ("operation", "rest", "groups"),
    [
        ("_convolution", [None, [2, 2], [1, 1], [3, 3], False, [0, 0], 2, False, False, True, True], 2),
        ("cudnn_convolution", [[1, 1], [2, 2], [3, 3], 2, False, False, True], 2),
        ("cudnn_convolution_relu", [None, [2, 2], [1, 1], [3, 3], 2], 2),
        ("cudnn_convolution_add_relu", ["z", 1.0, None, [2, 2], [1, 1], [3, 3], 2], 2),
        ("miopen_convolution", [None, [1, 1], [2, 2], [3, 3], 2, False, False], 2),
        ("miopen_depthwise_convolution", [None, [1, 1], [2, 2], [3, 3], 2, False, False], 2),
        ("mkldnn_convolution", [None, [1, 1], [2, 2], [3, 3], 2], 2),
        ("_mps_convolution", [None, [1, 1], [2, 2], [3, 3], 2], 2),
        ("_conv_depthwise2d", [[3, 3], None, [2, 2], [1, 1], [3, 3]], 2),  # as many groups as channels
        ("slow_conv_dilated2d", [[3, 3], None, [2, 2], [1, 1], [3, 3]], 1),
    ],
)
def test_convolutions_of_other_libraries(operand: Operands, operation: str, rest: list[Any], groups: int) -> None:
    image, kernel = operand(5, 2, 11, 11), operand.weight(4, 2 // groups, 3, 3)
    [conv] = read(operation, image, kernel, *rest, result=operand(5, 4, 3, 3))
    assert (conv.kind, conv.groups) == ("conv", groups)
    assert {name: getattr(conv, name) for name in CONV} == CONV
    assert shapes(conv) == ((5, 2, 11, 11), (4, 2 // groups, 3, 3), (5, 4, 3, 3))


@pytest.mark.parametrize(
    ("operation", "rest"),
    [
        ("cudnn_convolution_transpose", [[1, 1], [0, 0], [2, 2], [1, 1], 1, False, False, True]),
        ("miopen_convolution_transpose", [None, [1, 1], [0, 0], [2, 2], [1, 1], 1, False, False]),
        ("_mps_convolution_transpose", [[1, 1], [0, 0], [2, 2], [1, 1], 1]),
        ("slow_conv_transpose2d", [[3, 3], None, [2, 2], [1, 1]]),
    ],
)
def test_transposed_convolutions_of_other_libraries(operand: Operands, operation: str, rest: list[Any]) -> None:
    [conv] = read(operation, operand(5, 2, 4, 4), operand.weight(2, 6, 3, 3), *rest, result=operand(5, 6, 7, 7))
    assert (conv.kind, conv.stride, conv.padding, conv.dilation) == ("transposed_conv", (2, 2), (1, 1), (1, 1))


@pytest.mark.parametrize(
    ("operation", "rest"),
    [
        ("_flash_attention_forward", [None, None, 5, 7, 0.0, False, False]),
        ("_efficient_attention_forward", [None, None, None, None, None, 0.0, 0]),
    ],
)
def test_attention_with_heads_behind_positions(operand: Operands, operation: str, rest: list[Any]) -> None:
    args = operand(2, 5, 4, 3), operand(2, 7, 4, 3), operand(2, 7, 4, 6)  # 4 heads
    both = read(operation, *args, *rest, result=(operand(2, 5, 4, 6),))
    assert [macs(each) for each in both] == [2 * 4 * 5 * 7 * 3, 2 * 4 * 5 * 7 * 6]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    ("operation", "between"),
    [("_flash_attention_forward", []), ("_efficient_attention_forward", [None]), ("_cudnn_attention_forward", [None])],
)
def test_attention_of_sequences_in_one_batch(
    operand: Operands, operation: str, between: list[Any], known: bool
) -> None:
    query, key, value = operand(5, 4, 3), operand(7, 4, 3, needs_grad=False), operand(7, 4, 6)
    queries, keys = operand(3, needs_grad=False), operand(3, needs_grad=False)
    values = {queries.place: [0, 2, 5], keys.place: [0, 6, 7]}
    args = query, key, value, *between, queries, keys, 3, 6, 0.0, 0
    call = Call(args, (operand(5, 4, 6),), ANYWHERE, values=lambda each: values[each.place] if known else None)
    if not known:
        with pytest.raises(NotReadError):
            list(READERS[operation](call))
        return
    [reading] = READERS[operation](call)
    pairs = 4 * (2 * 6 + 3 * 1)  # each query with the keys of its own sequence
    # Q's gradient, but not K's; those of the scores and of V
    assert reading.custom_macs == (pairs * (3 + 6), pairs * 3 + 2 * pairs * 6)


def test_an_lstm_that_projects_its_state(operand: Operands) -> None:
    """cuDNN's fifth parameter of a direction: from 5 hidden features to 2."""
    steps, batch, features, hidden, projected = 3, 2, 4, 5, 2
    rows, gates = steps * batch, 4 * hidden
    shapes_of_weights = (gates, features), (gates, projected), (gates,), (gates,), (projected, hidden)
    weights = [operand.weight(*shape) for shape in shapes_of_weights]
    state, output = operand(1, batch, projected), operand(steps, batch, projected)
    rest = (None, 2, hidden, projected, 1, False, 0.0, True, False)
    readings = read("_cudnn_rnn", operand(steps, batch, features), weights, 5, None, state, *rest, result=(output,))
    assert sum(map(macs, readings)) == rows * (gates * (features + projected) + hidden * projected)


@pytest.mark.parametrize(
    ("left", "right", "result", "expected"),
    [
        ((24, 16), (3, 16, 8), (24, 8), 24 * 16 * 8),  # each row meets one matrix
        ((25, 16), (3, 16, 8), (25, 8), 25 * 16 * 8),
        ((3, 8, 16), (16, 24), (8, 24), 8 * 16 * 24),  # so does each column
        ((16, 24), (24, 8), (3, 16, 8), 16 * 24 * 8),  # the sum is divided: a weight's gradient
        ((3, 4, 16), (3, 16, 8), (3, 4, 8), 3 * 4 * 16 * 8),
    ],
)
@pytest.mark.parametrize("operation", ["_grouped_mm", "_scaled_grouped_mm"])
def test_grouped_products(operand: Operands, operation: str, left: Any, right: Any, result: Any, expected: int) -> None:
    [reading] = read(operation, operand(*left), operand(*right), result=operand(*result))
    assert (reading.custom_macs[0] if reading.kind == "custom" else macs(reading)) == expected


def test_numbers_that_are_packed_are_not_taken_for_one_each(operand: Operands) -> None:
    left, right = (operand(4, 8)._replace(numbers="packed"), operand(8, 5)._replace(numbers="packed"))
    with pytest.raises(NotReadError):
        read("_scaled_mm", left, right, result=operand(4, 5))


NO_PRODUCTS = {
    "_add_relu_", "_convert_weight_to_int4pack", "_convert_weight_to_int4pack_for_cpu", "_cslt_compress",
    "_cudnn_rnn_flatten_weight", "_cummin_helper", "_dyn_quant_pack_4bit_weight", "_fused_rms_norm",
    "_linalg_check_errors", "_nested_get_jagged_dummy", "_thnn_fused_gru_cell", "_thnn_fused_lstm_cell", "cummin",
    "hamming_window", "linalg__powsum", "linalg_cross", "linalg_vector_norm", "mkldnn_reorder_conv2d_weight",
    "mkldnn_reorder_conv3d_weight", "mvlgamma", "mvlgamma_", "upsample_bilinear2d", "upsample_linear1d",
    "upsample_trilinear3d", "_upsample_bilinear2d_aa",
}  # fmt: skip


def test_every_operation_of_torchs_that_may_multiply_is_counted_decomposed_or_announced() -> None:
    """By the words that products have in their names; a new torch may bring new operations."""
    words = re.compile(
        r"mm(?!a|on|etr)|(?<![a-z])mv|conv(?!ert_ind)|dot|matmul|linear|attention|lstm|gru|rnn|linalg|einsum"
    )
    known = READERS.keys() | SPARSE_READERS.keys() | MOVES | NO_PRODUCTS
    unknown = set()
    for each in torch._C._dispatch_get_all_op_names():
        library, _, name = each.partition("::")
        name = name.partition(".")[0]
        whole = not torch._C._dispatch_has_kernel_for_dispatch_key(each, "CompositeImplicitAutograd")
        if library == "aten" and words.search(name) and whole and name not in known and "backward" not in name:
            unknown |= set() if may_multiply_tensors(name) else {name}
    assert not unknown
    assert not any(map(may_multiply_tensors, NO_PRODUCTS))
