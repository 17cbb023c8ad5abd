"""A damaged or hostile ONNX file is one line and exit code 2, at once; nothing beside it is read or written."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

import swatcost
from benchmarks.fuzz_files import damaged
from swatcost.cli import main
from swatcost.common.errors import SwatcostError

from .test_onnx_graphs import FLOAT, ints, model, node, weights

PRODUCT = model([node("MatMul", "x w", "a"), node("Relu", "a")], weights(w=(6, 3)))
"""(2, 4, 6) by (6, 3)."""


def edited(edit: Callable[[onnx.ModelProto], object]) -> bytes:
    """The product after this edit."""
    made = onnx.ModelProto()
    made.CopyFrom(PRODUCT)
    edit(made)
    return made.SerializeToString()


def _renamed(made: onnx.ModelProto) -> None:
    made.graph.node[1].output[0] = "a"


def _circle(made: onnx.ModelProto) -> None:
    made.graph.node[0].input[0] = "y"


def _of_size(*dims: int) -> Callable[[onnx.ModelProto], None]:
    def edit(made: onnx.ModelProto) -> None:
        made.graph.initializer[0].dims[:] = dims

    return edit


def _input_of(size: int) -> Callable[[onnx.ModelProto], None]:
    def edit(made: onnx.ModelProto) -> None:
        made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = size

    return edit


def _elsewhere(made: onnx.ModelProto) -> None:
    held = helper.make_tensor("v", FLOAT, [1], [0.0])
    held.data_location = TensorProto.EXTERNAL
    held.external_data.add(key="location", value="/etc/passwd")
    made.graph.node.insert(0, helper.make_node("Constant", [], ["v"], value=held))


def _nested(levels: int) -> bytes:
    """A model of graphs within graphs, as bytes: ONNX's own tools make none so deep."""
    content = b""
    for field in (*(6, 5, 1) * levels, 7):  # a graph is in an attribute, that in a node, and that in a graph
        size, length = len(content), bytearray()
        while size > 127:
            length.append(size & 127 | 128)
            size >>= 7
        content = bytes([field << 3 | 2, *length, size]) + content
    return content


def _calling(*calls: int) -> Callable[[onnx.ModelProto], None]:
    """Functions of which each runs those of these numbers after it, 1 the next and 0 itself."""

    def edit(made: onnx.ModelProto) -> None:
        opsets = [helper.make_opsetid("", 23), helper.make_opsetid("own", 1)]
        for number in range(60):
            nodes = [
                helper.make_node(f"f{number + each}", ["a"], [f"b{place}"], domain="own")
                for place, each in enumerate(calls)
            ]
            made.functions.append(helper.make_function("own", f"f{number}", ["a"], ["b0"], nodes, opsets))
        last = helper.make_function("own", "f60", ["a"], ["b0"], [node("Relu", "a", "b0")], opsets)
        made.functions.append(last)
        made.opset_import.append(opsets[1])
        made.graph.node.append(helper.make_node("f0", ["x"], ["called"], domain="own"))

    return edit


BOUNDS = [
    helper.make_tensor(name, TensorProto.INT64, [], [value]) for name, value in {"a": 0, "b": 2**62, "c": 1}.items()
]
DAMAGED = {
    "empty": (b"", "is not a usable ONNX file: The model does not have an ir_version"),
    "text": (b"a network, to be sure", "does not hold an ONNX model"),
    "random": (random.Random(0).randbytes(999), "does not hold an ONNX model"),
    "cut short": (PRODUCT.SerializeToString()[:-40], "is not a usable ONNX file"),
    "a tensor twice": (edited(_renamed), "single static assignment"),
    "a circle": (edited(_circle), "topologically sorted"),
    "a missing input": (edited(lambda made: made.graph.node[0].input.pop()), "has input size 1 not in range"),
    "a missing weight": (edited(lambda made: made.graph.initializer.pop()), "topologically sorted"),
    "a weight twice": (
        edited(lambda made: made.graph.initializer.append(made.graph.initializer[0])), "two initializers have the"),
    "a negative dimension": (edited(_of_size(6, -3)), "w cannot have the shape 6×-3"),
    "a huge dimension": (edited(_of_size(6, 2**60)), "w cannot have the shape 6×1152921504606846976"),
    "many dimensions": (edited(_of_size(*[1] * 10**5)), "w has 100,000 dimensions"),
    "too few numbers": (edited(_of_size(6, 4)), "w cannot hold its 24 numbers"),
    "a huge input": (edited(_input_of(2**60)), "x cannot have the shape"),
    "a negative input": (edited(_input_of(-2)), "its first input holds no sample"),
    "no sample": (edited(_input_of(0)), "its first input holds no sample"),
    "no input": (edited(lambda made: made.graph.input.pop()), "topologically sorted"),
    "an unknown operation": (
        edited(lambda made: setattr(made.graph.node[1], "op_type", "Rolu")), "No Op registered for Rolu"),
    "an unknown version": (edited(lambda made: setattr(made.opset_import[0], "version", 999)), "it has opset 999"),
    "an unknown domain": (
        edited(lambda made: setattr(made.graph.node[1], "domain", "own")), "No opset import for domain 'own'"),
    "an unknown type": (
        edited(lambda made: setattr(made.graph.initializer[0], "data_type", 77)), "w cannot hold its 18 numbers"),
    "shapes that do not fit": (edited(_of_size(3, 6)), r"node a \(MatMul\): Incompatible dimensions"),
    "numbers in another file": (edited(_elsewhere), "a tensor in another file, which is not read"),
    "deep branches": (_nested(1000), "does not hold an ONNX model"),
    "branches in branches": (_nested(30), "does not have an ir_version"),
    "a function that calls itself": (edited(_calling(0)), "the function 'f0' calls itself"),
    "functions that double": (edited(_calling(1, 1)), "more than 200,000 nodes"),
    "an own shape": (
        model([node("Reshape", "x s", "r"), node("Relu", "r")], [ints("s", 2**40, 2**40)]).SerializeToString(),
        "Dimension product overflow"),
    "a huge range": (
        model([node("Range", "a b c", "r"), node("Gather", "x r")], BOUNDS).SerializeToString(), "cannot have the"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, line = DAMAGED[name]
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    began = time.monotonic()
    assert main([str(path), "--output", str(tmp_path / "out.json")]) == 2
    assert time.monotonic() - began < 5
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("swatcost: ")
    with pytest.raises(SwatcostError, match=line):
        swatcost.load(path)
    assert [*tmp_path.iterdir()] == [path]


def test_names_that_steer_a_terminal_are_shown_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def rename(made: onnx.ModelProto) -> None:
        made.graph.initializer[0].name = made.graph.node[0].input[1] = "w\x1b[2J\u202e"

    path = tmp_path / "net.onnx"
    path.write_bytes(edited(rename))
    assert main([str(path), "--layers", "--notes"]) == 0
    assert "\x1b[2J" not in capsys.readouterr().out
    assert [each.name for each in swatcost.load(path).parameters] == ["w?[2J?"]


def _changed(made: onnx.ModelProto, chance: random.Random) -> None:
    """One change that leaves a file which can be parsed."""
    graph, sizes = made.graph, (-1, 0, 1, 2, 7, 2**31, 2**53, 2**60, -(2**63))
    one, other = chance.choice(graph.node), chance.choice(graph.node)
    numbers = [each for each in one.attribute if each.ints or each.type == each.INT]
    held = chance.choice(graph.initializer)
    change = chance.randrange(8)
    if change == 0:
        one.op_type = chance.choice(sorted({each.name for each in onnx.defs.get_all_schemas()}))
    elif change == 1 and one.input:
        one.input[chance.randrange(len(one.input))] = chance.choice([*other.output, held.name, ""])
    elif change == 2 and one.input:
        del one.input[chance.randrange(len(one.input))]
    elif change == 3 and numbers:
        attribute = chance.choice(numbers)
        if attribute.ints:
            attribute.ints[chance.randrange(len(attribute.ints))] = chance.choice(sizes)
        else:
            attribute.i = chance.choice(sizes)
    elif change == 4 and held.dims:
        held.dims[chance.randrange(len(held.dims))] = chance.choice(sizes)
        held.ClearField("raw_data")
    elif change == 5:
        held.data_type = chance.randrange(30)
    elif change == 6:
        chance.choice(graph.input[0].type.tensor_type.shape.dim).dim_value = chance.choice(sizes)
    else:
        graph.node.remove(one)


SOURCES = [
    model(
        [
            node("Conv", "x k b", "c", pads=[1, 1], strides=[1]), node("BatchNormalization", "c g g g g", "n"),
            node("Reshape", "n s", "r"), node("Gemm", "r m", "h", transB=1), node("Split", "h p", "i j", axis=1),
            node("Einsum", "i j", "e", equation="bi,bi->b"), node("Relu", "e"),
        ],
        [*weights(k=(5, 4, 3), b=(5,), g=(5,), m=(8, 30)), ints("s", -1, 30), ints("p", 4, 4)], x=("n", 4, 6),
    ),
    model(
        [
            node("LSTM", "x w r", "o h", hidden_size=3), node("Squeeze", "o a", "s"), node("Slice", "s i j i", "t"),
            node("Attention", "t t t", "u", q_num_heads=1, kv_num_heads=1), node("LayerNormalization", "u g", "v"),
            node("ConvTranspose", "v k", group=1),
        ],
        [*weights(w=(1, 12, 6), r=(1, 12, 3), g=(3,), k=(4, 5, 2)), ints("a", 1), ints("i", 0), ints("j", 9)],
    ),
]  # fmt: skip


@pytest.mark.parametrize("source", range(len(SOURCES)))
def test_changed_files_are_read_or_refused(source: int, tmp_path: Path) -> None:
    chance, path = random.Random(source), tmp_path / "net.onnx"
    contents = [changed for _, changed in islice(damaged(SOURCES[source].SerializeToString(), chance), 400)]
    for _ in range(400):
        made = onnx.ModelProto()
        made.CopyFrom(SOURCES[source])
        for _ in range(chance.choice((1, 1, 2))):
            _changed(made, chance)
        contents.append(made.SerializeToString())
    said = set()
    for content in contents:
        path.write_bytes(content)
        try:
            said.add(swatcost.load(path).name)
        except SwatcostError as error:
            said.add(str(error))
    assert all(len(each.splitlines()) == 1 for each in said)
    assert "net" in said


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(PRODUCT.SerializeToString())
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(swatcost.common.errors.MissingPackageError, match=r"needs onnx: pip install 'swatcost\[onnx\]'"):
        swatcost.load(tmp_path / "net.onnx")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--classes", "7"], "is an ONNX file: leave out classes, which it fixes"),
        (["--input-dtype", "int64"], "is an ONNX file: leave out input_dtype, which it fixes"),
        (["--checkpoint", "a*"], "holds no training step: leave out checkpoint, or trace the module"),
        (["--precision", "amp"], "holds no training step: leave out autocast, or trace the module"),
        (["--input-shape", "4,7"], "input_shape 4,7: the file fixes 4×6"),
    ],
)
def test_what_a_file_fixes_cannot_be_asked(
    words: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.onnx").write_bytes(PRODUCT.SerializeToString())
    assert main([str(tmp_path / "net.onnx"), *words]) == 2
    assert line in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "validate", "memory"])
def test_commands_that_need_the_module_say_so(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.onnx").write_bytes(PRODUCT.SerializeToString())
    assert main([command, str(tmp_path / "net.onnx")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_reading_a_file_imports_no_torch(tmp_path: Path) -> None:
    from .test_extras import run_without

    (tmp_path / "net.onnx").write_bytes(PRODUCT.SerializeToString())
    done = run_without("torch,pandas", str(tmp_path / "net.onnx"), "--layers")
    assert done.returncode == 0, done.stderr
