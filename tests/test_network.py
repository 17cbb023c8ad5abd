"""The trace as data: what it refuses, and its way through a file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import swatcost
from swatcost.network import Network, batch_is_identifiable, read_network
from swatcost.network.layer import Layer

CONV = Layer(
    name="conv", kind="conv", input_shape=(2, 4, 9, 9), output_shape=(2, 6, 5, 5), weight_shape=(6, 2, 3, 3),
    stride=(2, 2), padding=(1, 1), dilation=(1, 1), groups=2,
    weight="(computed in x)", element_bytes=4, input_needs_grad=True, weight_trains=True, input_storage=0,
)  # fmt: skip
LINEAR = Layer(
    name="linear", kind="linear", input_shape=(2, 7, 5), output_shape=(2, 7, 3), weight_shape=(3, 5),
    weight="(computed in x)", element_bytes=4, input_needs_grad=True, weight_trains=True, input_storage=0,
)  # fmt: skip
NORM = Layer(
    name="norm", kind="batch_norm", input_shape=(2, 4, 5), output_shape=(2, 4, 5), weight_shape=(4,),
    weight="", element_bytes=4, input_needs_grad=True, weight_trains=True, input_storage=0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("layer", "change"),
    [
        (CONV, {"groups": 3}),
        (CONV, {"output_shape": (2, 6, 5, 4)}),
        (CONV, {"output_shape": (1, 6, 5, 5)}),
        (CONV, {"output_shape": (2, 8, 5, 5)}),
        (CONV, {"weight_shape": (6, 2, 3)}),
        (CONV, {"weight_shape": (6, 2)}),
        (CONV, {"stride": (2,)}),
        (CONV, {"dilation": (2, 2)}),
        (LINEAR, {"weight_shape": (3, 4)}),
        (LINEAR, {"output_shape": (2, 6, 3)}),
        (LINEAR, {"weight_shape": (3, 5, 1)}),
        (NORM, {"weight_shape": (5,)}),
        (NORM, {"output_shape": (2, 4, 6)}),
    ],
)
def test_a_layer_refuses_contradictions(layer: Layer, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{layer.name}: "):
        replace(layer, **change)


def test_symbols_are_the_papers() -> None:
    d = CONV.symbols
    assert (d.F, d.C, d.R, d.S, d.X, d.Y, d.H, d.W) == (6, 2, 3, 3, 9, 9, 5, 5)


def test_an_identifiable_batch_size_is_a_prime_that_divides_no_dimension() -> None:
    assert batch_is_identifiable(11, [3, 64, 224])
    assert not batch_is_identifiable(11, [3, 22])
    assert not batch_is_identifiable(9, [5])
    assert not batch_is_identifiable(1, [])


def test_a_saved_trace_is_the_same_network(tmp_path: Path, resnet50: Network) -> None:
    resnet50.save(tmp_path / "r.json")
    assert swatcost.load(tmp_path / "r.json") == resnet50
    assert list(tmp_path.iterdir()) == [tmp_path / "r.json"]


def damaged(change: Any) -> str:
    data = json.loads(swatcost.load("cifar_vgg16").to_json())
    change(data)
    return json.dumps(data)


def _set(*path: Any, value: Any) -> Any:
    def change(data: Any) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("layer_inputs", value=[0]), "its layers have another number of inputs"),
        (_set("schema", value="swatcost.trace/0"), "has schema 'swatcost.trace/0'"),
        (_set("schema", value=1), "not a usable trace"),
        (_set("layers", 0, "groups", value=0), "not a usable trace"),
        (_set("layers", 0, "groups", value=True), "not a usable trace"),
        (_set("layers", 0, "input_shape", 1, value=-3), "not a usable trace"),
        (_set("layers", 0, "output_shape", 2, value=31), "does not give 31"),
        (_set("layers", 0, "kind", value="magic"), "not a usable trace"),
        (_set("layers", 0, "weight", value="features.1.weight"), "not one of its parameters"),
        (_set("layers", 0, "parameters", value=["nobody"]), "no parameter is called 'nobody'"),
        (_set("parameters", 0, "shape", value=[64, 3, 3, 4]), "elements"),
        (_set("parameters", 0, "element_bytes", value=0.5), "not a usable trace"),
        (_set("storages", 0, "bytes", value=-1), "not a usable trace"),
        (_set("batch_size", value=0), "not a usable trace"),
        (_set("batch_size", value=7), "holds a batch of 7"),
        (_set("batch_size", value=2**61 - 1), "not a usable trace"),
        (_set("storages", 0, "bytes", value=10**400), "not a usable trace"),
        (_set("saved", 0, "storage", value=10**6), "is in none of the"),
        (_set("timeline", "events", 0, value=-(10**6)), "is in none of the"),
        (_set("timeline", "events", 0, value=-1), "twice, or frees it before allocating it"),
        (_set("timeline", "backward", value=10**6), "begins after its timeline ends"),
        (_set("timeline", "accumulations", 0, "parameter", value=10**6), "a gradient that no parameter has"),
        (_set("timeline", "accumulations", 0, "storage", value=0), "a gradient that no parameter has"),
        (_set("timeline", "accumulations", 0, "event", value=0), "a gradient outside its backward pass"),
        (_set("input_shapes", value=[[]]), "holds a batch of 11"),
        (_set("name", value="n\n\\input{/etc/passwd}"), "not a usable trace"),
        (_set("layers", 0, "name", value="\x1b[31m"), "not a usable trace"),
        (_set("parameters", 0, "shape", value=[2**50, 2**50]), r"more than 2\^53 elements"),
        (_set("layers", value=[]), None),
    ],
)
def test_a_damaged_trace_is_named_as_such(tmp_path: Path, change: Any, message: str | None) -> None:
    path = tmp_path / "trace.json"
    path.write_text(damaged(change))
    if message is None:
        with pytest.raises(swatcost.SwatcostError, match="nothing to count"):
            swatcost.estimate(path)
    else:
        with pytest.raises(swatcost.SwatcostError, match=message):
            read_network(path)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"schema": NaN}', "[" * 100_000, '{"schema":"swatcost.trace/3"}']
)
def test_what_is_not_a_trace_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "trace.json"
    path.write_text(text)
    with pytest.raises(swatcost.SwatcostError, match="not a usable trace"):
        read_network(path)


def test_a_truncated_trace_is_refused(tmp_path: Path, resnet50: Network) -> None:
    path = tmp_path / "trace.json"
    path.write_bytes(resnet50.to_json().encode()[:-1000])
    with pytest.raises(swatcost.SwatcostError, match="not a usable trace"):
        read_network(path)


def test_a_missing_trace_is_named(tmp_path: Path) -> None:
    with pytest.raises(swatcost.SwatcostError, match=r"cannot read .*none\.json: No such file"):
        swatcost.load(tmp_path / "none.json")
