"""How each method stores its weights, changes of it, and laws."""

from __future__ import annotations

import json
from dataclasses import replace
from math import isclose
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import swatcost
from swatcost.cli import main
from swatcost.common.errors import SwatcostError
from swatcost.memory.dense_step import training_memory
from swatcost.memory.sparse_step import SparseMemory, sparse_memory
from swatcost.memory.weight_storage import PARTS, ElementBytes, WeightStorage, storage_changes, stored_bytes
from swatcost.methods import METHODS
from swatcost.network import Network
from swatcost.planning import memory_of

from .by_hand import cannot_be_changed, chain, plan_of


@pytest.mark.parametrize(
    ("names", "masked", "least"),
    [
        # SWAT, DST and SAW update every weight: all dense, and one copy serves the passes that read sparse weights
        (
            ("swat", "swat-structured", "dst", "saw", "str", "powerpropagation"),
            WeightStorage(copies=1, formats=False),
            WeightStorage(copies=1),
        ),
        (
            (
                "set",
                "dsr",
                "rigl",
                "pruning",
                "mest",
                "mest-soft",
                "rigl-itop",
                "set-itop",
                "srigl",
                "granet",
                "ac-dc",
                "spdf",
                "sparse-ift",
            ),
            WeightStorage(copies=1, formats=False, mask_bits=8),
            WeightStorage(parameters="active", gradients="active", state="active"),
        ),
        # a mask for each of its two sets; all values stay, the wider set is updated, and forward reads a copy
        (
            ("top-kast",),
            WeightStorage(copies=1, formats=False, mask_bits=16),
            WeightStorage(gradients="active", state="active", copies=1),
        ),
        # sparse momentum: every weight has a gradient and a momentum, only active ones are updated
        (("snfs",), WeightStorage(copies=1, formats=False, mask_bits=8), WeightStorage(parameters="active")),
        (("dense", "meprop", "dsg", "sr-ste", "asp", "galore", "moe"), WeightStorage(formats=False), WeightStorage()),
        (("transposable-nm", "s-ste"), WeightStorage(copies=1, formats=False), WeightStorage(copies=1)),
        # frozen weights have neither gradient nor state
        (
            ("lora",),
            WeightStorage(gradients="none", state="none", formats=False),
            WeightStorage(parameters="active", gradients="none", state="none"),
        ),
        # a copy of its own for grad_input; FST's masks are those of SLoPe's account
        (("bi-mask",), WeightStorage(copies=1, formats=False), WeightStorage(transposes=1)),
        (("fst",), WeightStorage(copies=1, formats=False), WeightStorage(copies=1, transposes=1, mask_bits=8)),
        (
            ("slope",),
            WeightStorage(copies=1, formats=False, mask_bits=16),
            WeightStorage(parameters="active", gradients="active", state="active", transposes=1, mask_bits=8),
        ),
    ],
)
def test_what_each_method_stores(names: tuple[str, ...], masked: WeightStorage, least: WeightStorage) -> None:
    for name in names:
        assert (WeightStorage.masked(METHODS[name]), WeightStorage.least(METHODS[name])) == (masked, least)
    assert cannot_be_changed(least)


def test_every_method_is_said_to_store_something() -> None:
    """By the test above, so that a new method is thought about."""
    assert set(METHODS.names()) == {
        "swat", "swat-structured", "dst", "saw", "set", "dsr", "rigl", "pruning", "snfs", "dense", "meprop", "dsg",
        "sr-ste", "asp", "transposable-nm", "s-ste", "bi-mask", "fst", "slope", "lora", "galore", "moe", "sparse-ift",
        "ac-dc", "granet", "mest", "mest-soft", "rigl-itop", "set-itop", "srigl", "str", "powerpropagation", "spdf",
        "top-kast",
    }  # fmt: skip


def test_a_method_cannot_update_weights_without_a_gradient() -> None:
    with pytest.raises(ValueError, match="updates weights for which it has no gradient"):
        replace(METHODS["rigl"], updates="all")


def test_a_weight_that_no_format_makes_smaller_is_dense() -> None:
    """64 × 64 elements at 1 %: of 12 bytes each, a bitmap saves 41 · 12 = 492 and takes 512; of 16 it saves 655."""
    storage = WeightStorage(parameters="active", gradients="active", state="active")

    def stored(state: float) -> dict[str, float]:
        element = ElementBytes(parameter=4, gradient=4, state=state)
        return stored_bytes(storage, rows=64, columns=64, sparsity=0.01, element=element)

    assert stored(4) == dict.fromkeys(PARTS, 0) | dict.fromkeys(("parameters", "gradients", "optimizer state"), 16_384)
    assert stored(8)["indices"] == pytest.approx(512)
    assert stored(8)["parameters"] == pytest.approx(0.99 * 16_384)


def test_a_transpose_in_csr_has_pointers_of_its_own_rows() -> None:
    """4 × 600 at 99 %: 24 values with indices of 2 bytes and 5 pointers of 2; turned, indices of 1 and 601 pointers,
    or coordinates of 2 + 1 bytes, which are fewer."""
    found = stored_bytes(
        WeightStorage(copies=1, transposes=1), rows=4, columns=600, sparsity=0.99, element=ElementBytes(parameter=4)
    )
    assert found["weight copies"] == pytest.approx(24 * (2 + 4) + 5 * 2 + 24 * (2 + 1 + 4))


def test_storage_can_be_changed() -> None:
    assert storage_changes("parameters=active, copies=0") == {"parameters": "active", "copies": 0}
    asked: dict[str, Any] = {"method": "rigl", "weights": 0.8}
    usual = memory_of("cifar_resnet18", **asked).memory
    with_mask = memory_of("cifar_resnet18", **asked, weight_storage="mask_bits=1").memory
    sparse = sum(layer.elements for layer in swatcost.load("cifar_resnet18").parameters if len(layer.shape) > 1) - 1728
    assert with_mask.compressed_weights.parts["masks"] == sparse // 8  # all matrices but the first: 64 · 3 · 3 · 3
    assert with_mask.compressed_peak == usual.compressed_peak + sparse // 8
    assert with_mask.naive_peak == usual.naive_peak
    assert with_mask.dense.execution.title.endswith("number), mask_bits=1")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "weight_storage '': give field=value"),
        ("copies", "weight_storage copies: '' is not one of 0, 1"),
        ("copies=2", "weight_storage copies: '2' is not one of 0, 1"),
        ("mask_bits=4", "'4' is not one of 0, 1, 8"),
        ("state=some", "'some' is not one of all, active"),
        ("formats=0", "weight_storage 'formats=0': give field=value, with parameters, gradients, state, copies"),
        ("copies=1,copies=0", "weight_storage copies is given twice"),
    ],
)
def test_misuse(text: str, words: str) -> None:
    with pytest.raises(SwatcostError, match=words) as caught:
        memory_of("cifar_resnet18", weight_storage=text)
    assert "\n" not in str(caught.value)


methods = st.sampled_from([name for name in METHODS.names() if METHODS[name].uses("weight")])
networks = st.lists(st.integers(1, 64), min_size=2, max_size=5).map(lambda features: chain(*features))
steps = st.fixed_dictionaries(
    {
        "batch_size": st.integers(1, 40),
        "optimizer": st.sampled_from(["sgd", "momentum", "adam"]),
        "precision": st.sampled_from(["fp32", "bf16", "mixed"]),
    }
)


def viewed(network: Network, method: str, sparsity: float, step: dict[str, Any]) -> SparseMemory:
    acts = sparsity if METHODS[method].uses("activation") else 0.0
    plan = plan_of(network, [(sparsity, acts)] * len(network.layers), method=method)
    return sparse_memory(network, plan, training_memory(network, **step))


@settings(max_examples=60, deadline=None)
@given(networks, methods, steps)
def test_without_zeros_weights_are_stored_as_in_dense_training(
    network: Network, method: str, step: dict[str, Any]
) -> None:
    memory = viewed(network, method, 0.0, step)
    assert memory.naive_weights.parts == memory.compressed_weights.parts == memory.dense_weights
    assert memory.dense_weights["gradients"] == memory.dense.gradients
    # what stays of the dense step's constant bytes are buffers
    constant = sum(memory.dense.constant.values()) - memory.dense.constant.get("buffers", 0)
    assert sum(memory.dense_weights.values()) == constant + memory.dense.gradients
    assert memory.naive_peak == memory.compressed_peak == memory.dense.peak.bytes
    assert memory.dense_gradient_peak in (None, memory.dense.peak.bytes)


@settings(max_examples=100, deadline=None)
@given(networks, methods.filter(lambda name: not METHODS[name].stores), steps, st.floats(0.01, 0.99))
def test_compressed_weights_take_no_more_than_masked_ones(
    network: Network, method: str, step: dict[str, Any], sparsity: float
) -> None:
    memory = viewed(network, method, sparsity, step)
    naive, compressed = memory.naive_weights, memory.compressed_weights
    assert compressed.total <= naive.total
    for part in set(PARTS) - {"indices"}:
        assert compressed.parts[part] <= naive.parts[part]
    assert compressed.in_passes <= naive.in_passes
    assert compressed.at_update <= naive.at_update
    if memory.compressed <= memory.naive:
        assert memory.compressed_peak <= memory.naive_peak
    if memory.dense_gradient_peak is not None:
        indices = compressed.parts["indices"]  # with a dense gradient, another format may be smaller, without indices
        assert memory.compressed_peak <= memory.dense_gradient_peak + indices
        assert memory.dense_gradient_peak <= memory.naive_peak


sizes = st.integers(1, 300)
elements = st.builds(
    ElementBytes,
    parameter=st.sampled_from([2, 4]),
    master=st.sampled_from([0, 4]),
    gradient=st.sampled_from([0, 2, 4]),
    state=st.sampled_from([0, 4, 8]),
)
patterns = st.sampled_from([None, (2, 4), (1, 4), (1, 16)])


@settings(max_examples=300, deadline=None)
@given(sizes, sizes, elements, patterns, st.floats(0, 0.99), st.floats(0, 0.99), st.sampled_from(["all", "active"]))
def test_more_zeros_never_take_more_bytes(
    rows: int, columns: int, element: ElementBytes, pattern: Any, one: float, other: float, gradients: Any
) -> None:
    """Without copies, which are made from the sparsity on at which they are smaller than the weight."""
    storage = WeightStorage(parameters="active", gradients=gradients, state=gradients)
    less, more = (
        sum(stored_bytes(storage, rows=rows, columns=columns, sparsity=each, element=element, pattern=pattern).values())
        for each in sorted((one, other))
    )
    dense = rows * columns * sum(size for _, size in element.by_part())
    assert more <= less or isclose(more, less, rel_tol=1e-12)
    assert less <= dense or isclose(less, dense, rel_tol=1e-12)


def test_the_report_adds_up(capsys: pytest.CaptureFixture[str]) -> None:
    """Parts of each view in JSON, and printed parts against printed totals."""
    command = ["memory", "cifar_resnet18", "--method", "rigl", "--weights", "0.9"]
    assert main([*command, "--format", "json"]) == 0
    views = json.loads(capsys.readouterr().out)["views"]
    memory = memory_of("cifar_resnet18", method="rigl", weights=0.9).memory
    assert views["naive"]["weights"] == memory.naive_weights.parts
    assert views["compressed"]["weights"] == memory.compressed_weights.parts
    assert views["compressed"]["peak_bytes"] == memory.compressed_peak
    assert views["compressed"]["peak_bytes_with_dense_gradients"] == memory.dense_gradient_peak
    assert memory.dense_gradient_peak is not None
    assert memory.compressed_peak < memory.dense_gradient_peak < memory.dense.peak.bytes
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "compressed, all gradients" in out
    table = out[out.index("stored for weights") :].split("\n\n")[0].splitlines()[2:]
    megabytes = [
        [float(each) for each in line.replace("0 B", "0.000 MB").replace("MB", "").split()[-3:]] for line in table
    ]
    *parts, total = megabytes
    assert [sum(column) for column in zip(*parts, strict=True)] == pytest.approx(total, abs=0.0005 * len(parts))
    assert main([*command, "--format", "csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = [int(line.split(",")[-1]) for line in lines if line.startswith('"weights, compressed"')]
    assert found == [*memory.compressed_weights.parts.values()]
