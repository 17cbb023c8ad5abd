"""Graphs that torch does not export: every operation's count by arithmetic, and what ONNX leaves open."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import swatcost
from swatcost.common.errors import SwatcostError
from swatcost.memory.dense_step import training_memory
from swatcost.network import Network
from swatcost.network.formulas import forget

FLOAT = TensorProto.FLOAT
Dims = Sequence[int | str]


def node(operation: str, inputs: str, outputs: str = "y", **attributes: Any) -> onnx.NodeProto:
    """A node that reads and returns these tensors; an input called - is left out."""
    names = ["" if each == "-" else each for each in inputs.split()]
    return helper.make_node(operation, names, outputs.split(), **attributes)


def weights(**shapes: Sequence[int]) -> list[onnx.TensorProto]:
    return [numpy_helper.from_array(numpy.ones(shape, numpy.float32), name) for name, shape in shapes.items()]


def model(
    nodes: Sequence[onnx.NodeProto],
    initializers: Sequence[onnx.TensorProto] = (),
    *,
    x: Dims = (2, 4, 6),
    others: dict[str, Dims] | None = None,
    opset: int = 23,
    functions: Sequence[onnx.FunctionProto] = (),
    domains: Sequence[str] = (),
    dtype: int = FLOAT,
) -> onnx.ModelProto:
    """A graph from its input x to the last node's first output."""
    inputs = [helper.make_tensor_value_info("x", dtype, x)]
    inputs += [helper.make_tensor_value_info(name, FLOAT, dims) for name, dims in (others or {}).items()]
    result = helper.make_tensor_value_info(nodes[-1].output[0], FLOAT, None)
    graph = helper.make_graph(list(nodes), "graph", inputs, [result], list(initializers))
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(each, 1) for each in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10, functions=list(functions))


def read(made: onnx.ModelProto, folder: Path, **loading: Any) -> Network:
    path = folder / "net.onnx"
    path.write_bytes(made.SerializeToString())
    return swatcost.load(path, **loading)


def ints(name: str, *values: int) -> onnx.TensorProto:
    return numpy_helper.from_array(numpy.array(values, numpy.int64), name)


COUNTED: dict[str, tuple[onnx.ModelProto, int, int]] = {
    # 2 images · 5 filters · 4 channels · 3 taps · 6 positions = 720; the input needs no gradient
    "SAME_UPPER with an even kernel": (
        model([node("Conv", "x w", auto_pad="SAME_UPPER")], weights(w=(5, 4, 4))), 2 * 5 * 4 * 4 * 6, 2),
    "pads that differ": (model([node("Conv", "x w", pads=[0, 1])], weights(w=(5, 4, 3))), 2 * 5 * 4 * 3 * 5, 2),
    "SAME_LOWER with strides": (
        model([node("Conv", "x w", auto_pad="SAME_LOWER", strides=[2])], weights(w=(5, 4, 3))), 2 * 5 * 4 * 3 * 3, 2),
    "groups and dilations": (
        model([node("Conv", "x w b", group=2, dilations=[2])], weights(w=(6, 2, 3), b=(6,))), 2 * 6 * 2 * 3 * 2, 2),
    # in a transposed convolution each input position meets each weight: 2 · 4 · 5 · 3 · 6
    "transposed": (model([node("ConvTranspose", "x w", strides=[2])], weights(w=(4, 5, 3))), 2 * 4 * 5 * 3 * 6, 2),
    "transposed to a given size": (
        model([node("ConvTranspose", "x w", strides=[2], output_shape=[12])], weights(w=(4, 5, 3))),
        2 * 4 * 5 * 3 * 6, 2),
    "a matrix": (model([node("MatMul", "x w")], weights(w=(6, 3))), 2 * 4 * 6 * 3, 2),
    "a vector": (model([node("MatMul", "x w")], weights(w=(6,))), 2 * 4 * 6, 2),
    "a matrix on the left": (model([node("MatMul", "w x")], weights(w=(3, 4))), 2 * 3 * 4 * 6, 2),
    "a matrix per sample": (model([node("MatMul", "x w")], weights(w=(2, 6, 3))), 2 * 4 * 6 * 3, 2),
    "Gemm, transposed": (
        model([node("Gemm", "x w b", transA=1, transB=1)], weights(w=(3, 4), b=(3,)), x=(4, 2)), 2 * 4 * 3, 2),
    "activations": (model([node("MatMul", "x z")], others={"z": (2, 6, 5)}), 2 * 4 * 6 * 5, 1),
    "activations of one batch": (model([node("MatMul", "x z")], others={"z": (6, 5)}), 2 * 4 * 6 * 5, 1),
    "Einsum, a weight": (model([node("Einsum", "x w", equation="btc,dc->btd")], weights(w=(3, 6))), 2 * 4 * 6 * 3, 2),
    "Einsum, an ellipsis": (
        model([node("Einsum", "x w", equation="...c,cd->...d")], weights(w=(6, 3))), 2 * 4 * 6 * 3, 2),
    "Einsum, implicit": (model([node("Einsum", "x w", equation="btc,cd")], weights(w=(6, 3))), 2 * 4 * 6 * 3, 2),
    "Einsum of activations": (
        model([node("Einsum", "x z", equation="btc,bsc->bts")], others={"z": (2, 5, 6)}), 2 * 4 * 6 * 5, 1),
    # steps 2, batch 4, 6 features, hidden 3, 4 gates: 8 rows · 12 · 6 + 8 rows · 12 · 3
    "LSTM": (
        model([node("LSTM", "x w r", "y h c", hidden_size=3)], weights(w=(1, 12, 6), r=(1, 12, 3))),
        8 * 12 * 6 + 8 * 12 * 3, 0),
    "GRU in two directions": (
        model([node("GRU", "x w r", hidden_size=3, direction="bidirectional")], weights(w=(2, 9, 6), r=(2, 9, 3))),
        2 * (8 * 9 * 6 + 8 * 9 * 3), 0),
    # 2 heads of 3 features: 2 samples · 2 heads · 4 · 4 pairs · 3, for the scores and for the values
    "Attention": (
        model([node("Attention", "x x x", q_num_heads=2, kv_num_heads=2)]), 2 * (2 * 2 * 4 * 4 * 3), 1),
    "Attention of grouped queries": (
        model([node("Attention", "x z z", q_num_heads=2, kv_num_heads=1)], others={"z": (2, 5, 3)}),
        2 * (2 * 2 * 4 * 5 * 3), 1),
    "a kernel that is computed": (
        model([node("Conv", "x z")], others={"z": (5, 4, 3)}), 2 * 5 * 4 * 3 * 4, 1),
}  # fmt: skip
"""Models with their forward MACs, and how often training executes those: 1 without a gradient, 2 with the weight's; 0
if it is not a multiple."""


@pytest.mark.parametrize("name", COUNTED)
def test_every_product_is_counted_by_hand(name: str, tmp_path: Path) -> None:
    made, forward, times = COUNTED[name]
    network = read(made, tmp_path)
    assert sum(each.forward_macs for each in network.layers) == forward
    if times:
        assert sum(each.training_macs for each in network.layers) == times * forward
    assert not network.uncounted


def test_lstm_weights_that_are_whole_initializers_train(tmp_path: Path) -> None:
    """Without a gradient of the input: forward twice, and of the 4 rows after the first step the hidden state's."""
    network = read(COUNTED["LSTM"][0], tmp_path)
    forward, later = 8 * 12 * 6 + 8 * 12 * 3, 4 * 12 * 3
    assert sum(each.training_macs for each in network.layers) == 2 * forward + later


WEIGHT_BEHIND = {
    "Transpose": [node("Transpose", "w", "v", perm=[1, 0])],
    "Identity": [node("Transpose", "w", "t", perm=[1, 0]), node("Identity", "t", "v")],
    "Cast": [node("Cast", "w", "h", to=TensorProto.FLOAT), node("Transpose", "h", "v")],
    "Reshape": [node("Reshape", "w shape", "v")],
    "Squeeze": [node("Unsqueeze", "w axes", "u"), node("Squeeze", "u axes", "s"), node("Transpose", "s", "v")],
}


@pytest.mark.parametrize("way", WEIGHT_BEHIND)
def test_a_weight_is_one_behind_what_only_moves_it(way: str, tmp_path: Path) -> None:
    held = [*weights(w=(3, 6)), ints("shape", 6, 3), ints("axes", 0)]
    (layer,) = read(model([*WEIGHT_BEHIND[way], node("MatMul", "x v")], held), tmp_path).layers
    assert (layer.kind, layer.weight, layer.weight_trains) == ("linear", "w", True)


def test_a_constant_node_can_hold_a_weight(tmp_path: Path) -> None:
    held = node("Constant", "", "w", value=weights(w=(6, 3))[0])
    network = read(model([held, node("MatMul", "x w")]), tmp_path)
    assert [(each.name, each.trains) for each in network.parameters] == [("w", True)]


def test_one_initializer_in_two_layers_is_one_weight(tmp_path: Path) -> None:
    network = read(model([node("MatMul", "x w", "a"), node("MatMul", "a w")], weights(w=(6, 6))), tmp_path)
    assert [each.weight for each in network.layers] == ["w", "w"]
    assert network.weight_elements == network.parameter_elements == 36


def test_parts_of_one_initializer_are_named_as_such(tmp_path: Path) -> None:
    nodes = [
        node("Split", "w sizes", "q k"), node("Transpose", "q", "a"), node("Transpose", "k", "b"),
        node("MatMul", "x a", "left"), node("MatMul", "x b", "right"), node("Concat", "left right", axis=-1),
    ]  # fmt: skip
    network = read(model(nodes, [*weights(w=(5, 6)), ints("sizes", 2, 3)]), tmp_path)
    assert [each.weight for each in network.layers] == ["w[0:12]", "w[12:30]"]


def test_quantised_weights_do_not_train(tmp_path: Path) -> None:
    held = numpy_helper.from_array(numpy.ones((6, 3), numpy.int8), "w")
    scale = numpy_helper.from_array(numpy.array(0.5, numpy.float32), "scale")
    nodes = [node("DequantizeLinear", "w scale", "v"), node("MatMul", "x v")]
    network = read(model(nodes, [held, scale]), tmp_path)
    (layer,) = network.layers
    assert (layer.weight, layer.weight_trains, layer.forward_macs) == ("w", False, 2 * 4 * 6 * 3)
    assert [(each.name, each.element_bytes, each.trains) for each in network.parameters] == [("w", 1, False)]
    assert any("Nothing needs a gradient" in each for each in swatcost.estimate(network).assumptions)


def test_integer_convolutions_are_counted(tmp_path: Path) -> None:
    held = numpy_helper.from_array(numpy.ones((5, 4, 3), numpy.uint8), "w")
    network = read(model([node("ConvInteger", "x w")], [held], dtype=TensorProto.UINT8), tmp_path)
    assert [each.forward_macs for each in network.layers] == [2 * 5 * 4 * 3 * 4]


def test_norms_are_listed_with_their_parameters(tmp_path: Path) -> None:
    nodes = [
        node("GroupNormalization", "x g b", "a", num_groups=2), node("RMSNormalization", "a r", "c"),
        node("LayerNormalization", "c r s", "d"), node("InstanceNormalization", "d g b", "e"),
        node("BatchNormalization", "e g b mean var", "y"),
    ]  # fmt: skip
    held = weights(g=(4,), b=(4,), r=(6,), s=(6,), mean=(4,), var=(4,))
    network = read(model(nodes, held), tmp_path)
    assert [(each.kind, each.weight_shape) for each in network.layers] == [
        ("group_norm", (4,)), ("rms_norm", (6,)), ("layer_norm", (6,)), ("instance_norm", (4,)), ("batch_norm", (4,)),
    ]  # fmt: skip
    assert [each.name for each in network.parameters] == ["g", "b", "r", "s"]
    assert [each.name for each in network.buffers] == ["mean", "var"]


def branches(of: str = "x") -> onnx.NodeProto:
    """A node that, as cond says, has a branch of a product by w (6 → 3) or one by z (6 → 6)."""
    made = []
    for weight in "wz":
        result = helper.make_tensor_value_info(f"out_{weight}", FLOAT, None)
        made.append(helper.make_graph([node("MatMul", f"{of} {weight}", f"out_{weight}")], weight, [], [result]))
    return node("If", "cond", then_branch=made[0], else_branch=made[1])


def test_the_branch_that_runs_is_followed_if_it_is_known(tmp_path: Path) -> None:
    held = [*weights(w=(6, 3), z=(6, 6)), numpy_helper.from_array(numpy.array(True), "cond")]
    network = read(model([branches()], held), tmp_path)
    (layer,) = network.layers
    assert (layer.weight, layer.forward_macs, layer.training_macs) == ("w", 2 * 4 * 6 * 3, 2 * 2 * 4 * 6 * 3)
    assert network.output_shapes == ((2, 4, 3),)


def test_what_depends_on_values_is_uncounted(tmp_path: Path) -> None:
    nodes = [node("ReduceSum", "x", "sum", keepdims=0), node("Cast", "sum", "cond", to=TensorProto.BOOL), branches()]
    network = read(model(nodes, weights(w=(6, 3), z=(6, 6))), tmp_path)
    assert not network.layers
    assert [(each.operation, each.products) for each in network.uncounted][-1] == ("If", True)


def test_a_layer_before_what_is_not_followed_trains(tmp_path: Path) -> None:
    nodes = [
        node("MatMul", "x v", "h"), node("ReduceSum", "x", "sum", keepdims=0),
        node("Cast", "sum", "cond", to=TensorProto.BOOL), branches(of="h"),
    ]  # fmt: skip
    (layer,) = read(model(nodes, weights(v=(6, 6), w=(6, 3), z=(6, 6))), tmp_path).layers
    assert (layer.weight, layer.training_macs) == ("v", 2 * layer.forward_macs)


def test_a_layer_that_reaches_no_output_has_no_gradient(tmp_path: Path) -> None:
    nodes = [node("MatMul", "x v", "unused"), node("MatMul", "x w")]
    unused, used = read(model(nodes, weights(v=(6, 6), w=(6, 3))), tmp_path).layers
    assert (unused.training_macs, used.training_macs) == (unused.forward_macs, 2 * used.forward_macs)


def test_operations_of_other_domains_are_uncounted_or_counted_by_a_formula(tmp_path: Path) -> None:
    fused = helper.make_node("FusedMatMul", ["x", "w"], ["y"], domain="com.microsoft", transB=1)
    made = model([fused, node("Relu", "y", "z")], weights(w=(3, 6)), domains=["com.microsoft"])
    made.graph.value_info.append(helper.make_tensor_value_info("y", FLOAT, [2, 4, 3]))
    assert [(each.operation, each.products) for each in read(made, tmp_path).uncounted] == [
        ("com.microsoft.FusedMatMul", True), ("Relu", False),
    ]  # fmt: skip

    @swatcost.formula("com.microsoft.FusedMatMul")
    def fused_matmul(x: tuple[int, ...], w: tuple[int, ...], *, transB: int, out_shape: tuple[int, ...]) -> int:
        assert (transB, out_shape) == (1, (2, 4, 3))
        return x[0] * x[1] * x[2] * w[0]

    try:
        (layer,) = read(made, tmp_path).layers
    finally:
        forget("com.microsoft.FusedMatMul")
    assert (layer.kind, layer.custom_macs) == ("custom", (2 * 4 * 6 * 3, 2 * 4 * 6 * 3))  # the weight's gradient alone


def test_functions_of_the_file_are_followed(tmp_path: Path) -> None:
    twice = helper.make_function(
        "own", "Twice", ["a", "v"], ["b"], [node("MatMul", "a v", "t"), node("MatMul", "t v", "b")],
        [helper.make_opsetid("", 23)],
    )  # fmt: skip
    called = helper.make_node("Twice", ["x", "w"], ["y"], domain="own")
    network = read(model([called], weights(w=(6, 6)), functions=[twice], domains=["own"]), tmp_path)
    assert [each.forward_macs for each in network.layers] == 2 * [2 * 4 * 6 * 6]


def test_weights_in_another_file_are_not_missed(tmp_path: Path) -> None:
    made = model([node("MatMul", "x w")], weights(w=(6, 30)))
    onnx.save(made, tmp_path / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0)
    before = swatcost.load(tmp_path / "net.onnx")
    (tmp_path / "net.data").unlink()
    assert swatcost.load(tmp_path / "net.onnx") == before
    assert before.parameter_elements == 6 * 30


def test_open_dimensions_are_filled(tmp_path: Path) -> None:
    made = model([node("Conv", "x w")], weights(w=(5, 4, 3)), x=("batch", 4, "length"))
    with pytest.raises(SwatcostError, match="leaves length of its input 'x' open: give input_shape"):
        read(made, tmp_path)
    network = read(made, tmp_path, input_shape=(4, 20))
    assert network.input_shapes == ((network.batch_size, 4, 20),)
    assert network.batch_is_identifiable
    assert f"counts the samples: {network.batch_size}" in network.assumed[0]
    with pytest.raises(SwatcostError, match="input_shape 3,20: the file fixes 4×length"):
        read(made, tmp_path, input_shape=(3, 20))
    with pytest.raises(SwatcostError, match="has 1 dimensions, and a sample of it 2"):
        read(made, tmp_path, input_shape=(20,))


def test_a_graph_that_is_made_for_one_sample_is_read_with_one(tmp_path: Path) -> None:
    made = model(
        [node("Reshape", "x shape", "f"), node("MatMul", "f w")],
        [*weights(w=(24, 3)), ints("shape", 1, 24)],
        x=("n", 4, 6),
    )
    network = read(made, tmp_path)
    assert network.batch_size == 1
    assert [each.forward_macs for each in network.layers] == [24 * 3]


def test_what_is_assumed_is_said(tmp_path: Path) -> None:
    made = model([node("Add", "x mask", "a"), node("MatMul", "a w")], weights(w=(6, 3), mask=(4, 6)))
    network = read(made, tmp_path)
    assert "no layer holds mask." in network.assumed[0]
    assert "Dimension 0 of its first input, 2×4×6, is assumed to count the samples." in network.assumed[0]
    assert set(network.assumed) <= set(swatcost.estimate(network).assumptions)
    with pytest.raises(SwatcostError, match="net has no recorded training step, so its memory is unknown"):
        training_memory(network)
