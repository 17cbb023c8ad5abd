"""Costs by module: every level of the tree adds up to the network, and torch's own modules say what a module has."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

import swatcost
from swatcost import planning
from swatcost.counting import CONVENTIONS
from swatcost.counting.language import why_not
from swatcost.network import Network
from swatcost.planning import Summary
from swatcost.planning.module_tree import OWN, ModuleTotals, Totals, module_tree
from swatcost.report import render

from .conftest import ZOO_NAMES, zoo_module, zoo_network

WIDTH, HEADS, TOKENS, WORDS = 12, 2, 9, 50


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 24), nn.GELU(), nn.Linear(24, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    """Patches, a class token and positions of its own, blocks and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.positions = nn.Parameter(torch.zeros(1, 1, WIDTH)), nn.Parameter(torch.zeros(1, 17, WIDTH))
        self.patches = nn.Conv2d(3, WIDTH, 4, stride=4)
        self.blocks = nn.Sequential(*(Block() for _ in range(3)))
        self.head = nn.Linear(WIDTH, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
        return self.head(self.blocks(x)[:, 0])


class LanguageModel(nn.Module):
    """Embeddings, blocks, and a head that has the embedding's weight."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(WORDS, WIDTH), nn.Embedding(TOKENS, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, WORDS, bias=False)
        self.head.weight = self.words.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens) + self.positions(torch.arange(TOKENS, device=tokens.device))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


OWN_MODULES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "ViT-like": (VisionTransformer, (3, 16, 16)),
    "LM-like": (LanguageModel, (TOKENS,)),
}


@cache
def network_called(name: str) -> Network:
    if name in ZOO_NAMES:
        return zoo_network(name)
    build, shape = OWN_MODULES[name]
    return swatcost.trace(build(), input_shape=shape)


def module_called(name: str) -> nn.Module:
    module: nn.Module = zoo_module(name) if name in ZOO_NAMES else OWN_MODULES[name][0]()
    return module


EVERY_NETWORK = [*ZOO_NAMES, *OWN_MODULES]


def frontier(summary: Summary) -> list[ModuleTotals]:
    return [module for _, module, innermost in summary.shown() if innermost]


def numbers(totals: Totals) -> tuple[list[float], list[float]]:
    """What is counted, and what is expected: sums of floats, whose order may differ."""
    costs = [*totals.costs.by_part().values(), totals.costs.inference, totals.saved]
    counted = [totals.calls, totals.params, totals.weights, *(each.dense for each in costs)]
    expected = [totals.non_zero_params, totals.non_zero_weights, totals.input_elements, totals.masked_elements]
    return counted, [*expected, *(each.sparse for each in costs)]


def assert_alike(one: Totals, other: Totals) -> None:
    (counted, expected), (counted_too, expected_too) = numbers(one), numbers(other)
    assert counted == counted_too
    assert expected == pytest.approx(expected_too)


def assert_is_the_network(totals: Totals, of: Summary) -> None:
    """The same as what the network and its estimate say, which know nothing of modules."""
    found, network = of.estimate, of.estimate.network
    assert totals.params == network.parameter_elements
    assert totals.calls == len(network.layers)
    assert totals.weights == network.weight_elements
    assert totals.non_zero_weights == pytest.approx(found.non_zero_weights)
    others = network.parameter_elements - network.weight_elements
    assert totals.non_zero_params == pytest.approx(others + found.non_zero_weights)
    assert (totals.act_sparsity or 0) == pytest.approx(found.act_sparsity)
    for name, cost in found.costs.by_part().items():
        assert getattr(totals.costs, name).dense == cost.dense
        assert getattr(totals.costs, name).sparse == pytest.approx(cost.sparse)
    assert totals.costs.inference.sparse == pytest.approx(found.costs.inference.sparse)
    assert totals.saved.dense == found.memory.saved_activations.dense
    assert totals.saved.sparse == pytest.approx(found.memory.saved_activations.sparse)


@pytest.mark.parametrize("name", EVERY_NETWORK)
@settings(max_examples=3, suppress_health_check=[HealthCheck.too_slow])
@given(
    weights=st.floats(0, 0.99), acts=st.floats(0, 0.99), convention=st.sampled_from(CONVENTIONS.names()),
    method=st.sampled_from(["swat", "saw", "rigl"]), fold=st.booleans(),
)  # fmt: skip
def test_every_level_adds_up(name: str, weights: float, acts: float, convention: str, method: str, fold: bool) -> None:
    asked: dict[str, Any] = {"weights": weights, "method": method, "convention": convention}
    if method != "rigl":
        asked["acts"] = acts
    if method == "saw":
        asked.pop("weights")
    if why_not(CONVENTIONS[convention], network_called(name)):
        asked["convention"] = "swat"
    every = swatcost.summary(network_called(name), depth=None, fold=fold, **asked)
    for depth in range(1, every.tree.depth + 1):
        level = Summary(estimate=every.estimate, tree=every.tree, depth=depth, columns=None)
        assert_is_the_network(sum((each.totals for each in frontier(level)), Totals()), level)
    for _, module in every.tree.walk():
        if module.parts:
            assert_alike(module.totals, sum((each.totals for each in module.parts), Totals()))


@pytest.mark.parametrize("name", EVERY_NETWORK)
def test_parameters_are_those_of_torchs_modules(name: str) -> None:
    """Of each module those that are registered below it first, as `named_parameters` has them."""
    module = module_called(name)
    sizes = {key: parameter.numel() for key, parameter in module.named_parameters()}
    known = dict(module.named_modules())
    named = 0
    for _, each in module_tree(swatcost.estimate(network_called(name))).walk():
        if each.name in known:
            named += 1
            assert each.totals.params == sum(size for key, size in sizes.items() if key.startswith(f"{each.name}."))
    owners = {key.rpartition(".")[0] for key in sizes} - {""}
    assert named >= len(owners)


@pytest.mark.parametrize("name", ["cifar_resnet18", "cifar_densenet121", "vit_b_16", "convnext_base", *OWN_MODULES])
def test_forward_is_what_torchs_counter_gives_by_module(name: str) -> None:
    module, network = module_called(name).to("meta"), network_called(name)
    dtype = torch.int64 if name == "LM-like" else torch.float32
    x = torch.zeros(network.input_shapes[0], device="meta", dtype=dtype)
    with FlopCounterMode(display=False, depth=None) as counter:
        module(x)
    flops = {key.partition(".")[2]: sum(each.values()) for key, each in counter.get_flop_counts().items()}
    tree = swatcost.summary(network, convention="exact", depth=None)
    compared = 0
    for _, each, _ in tree.shown():
        if each.name in flops:
            compared += 1
            assert 2 * network.batch_size * each.totals.costs.forward.dense == flops[each.name], each.name
    assert compared >= len({layer.name for layer in network.counted_layers} - {network.name}) > 0


def part(summary: Summary, name: str) -> ModuleTotals:
    return next(each for _, each in summary.tree.walk() if each.name == name)


def test_a_tied_weight_counts_once() -> None:
    found = swatcost.summary(network_called("LM-like"), weights=0.5, first_layer="sparse", depth=None)
    words, head = part(found, "words").totals, part(found, "head").totals
    assert (words.params, head.params) == (50 * 12, 0)
    assert (words.weights, words.non_zero_weights, words.non_zero_params) == (600, 300, 300)
    assert head.costs.forward.dense == 9 * 50 * 12  # tokens · words · width
    assert words.costs.training.dense == 0
    # a block: norms 2 · 24; attention 3 · 12 · 12 + 36 + 12 · 12 + 12; mlp 12 · 24 + 24 + 24 · 12 + 12
    block = 48 + (432 + 36 + 144 + 12) + (288 + 24 + 288 + 12)
    assert part(found, "blocks.0").totals.params == block == 1284
    assert found.tree.totals.params == 600 + 9 * 12 + 2 * block + 24
    assert any("head uses words.weight" in each for each in found.notes)


def test_what_the_network_has_itself_is_a_part_of_its_own() -> None:
    found = swatcost.summary(VisionTransformer(), input_shape=(3, 16, 16), depth=1)
    own = found.tree.parts[0]
    assert (own.label, own.name, own.totals.params) == (OWN, OWN, 12 + 17 * 12)
    assert [each.label for each in found.tree.parts] == [OWN, "patches", "blocks", "head"]
    alone = swatcost.summary(nn.Linear(5, 3), input_shape=(5,), depth=1).tree
    assert (alone.parts, alone.totals.params, alone.totals.costs.forward.dense) == ((), 18, 15)


class Summed(nn.Module):
    """A weight that is computed from two parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Parameter(torch.ones(6, 6)), nn.Parameter(torch.ones(6, 6))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.one + self.other)


class Recurring(nn.Module):
    """A scaled weight, a computed one, a part that runs three times, and one that checkpointing runs again."""

    def __init__(self) -> None:
        super().__init__()
        self.normed = weight_norm(nn.Linear(6, 6, bias=False))
        self.summed = Summed()
        self.step = nn.Linear(6, 6, bias=False)
        self.again = nn.Sequential(nn.Linear(6, 4, bias=False), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        x = self.summed(self.normed(x))
        for _ in range(3):
            x = self.step(x)
        y: Tensor = checkpoint(self.again, x, use_reentrant=False)
        return y


def test_computed_weights_calls_and_recomputation() -> None:
    found = swatcost.summary(
        Recurring(), input_shape=(6,), weights=0.5, first_layer="sparse", depth=None, convention="exact"
    )
    parts = {each.label: each.totals for each in found.tree.parts if each.label != OWN}
    assert list(parts) == ["normed", "summed", "step", "again"]
    assert parts["normed"].params == 36 + 6  # of the weight, and its rows' lengths
    assert (parts["normed"].weights, parts["normed"].non_zero_params) == (36, 18 + 6)
    # zeros of what is computed from two parameters are zeros of neither
    assert (parts["summed"].weights, parts["summed"].non_zero_weights) == (36, 18)
    assert parts["summed"].params == parts["summed"].non_zero_params == 72
    assert (parts["step"].calls, part(found, "step").kinds) == (3, ("linear ×3",))
    assert parts["step"].costs.forward.dense == 3 * 36
    assert parts["again"].costs.recompute.dense == 24
    assert found.tree.totals.costs.training.dense == found.estimate.costs.training.dense
    assert "recompute" in render(found, "table", width=200)


def test_the_shape_is_that_behind_the_last_layer() -> None:
    found = swatcost.summary("resnet50", depth=None)
    assert found.tree.output_shape == (1000,)
    assert part(found, "layer1").output_shape == (256, 56, 56)
    assert part(found, "layer1.0.conv1").output_shape == (64, 56, 56)
    assert part(swatcost.summary(network_called("LM-like")), "words").output_shape is None


def test_equal_neighbours_are_folded_only_if_asked() -> None:
    plain, fold = (swatcost.summary("vit_b_16", depth=None, fold=each) for each in (False, True))
    assert [each.label for each in part(plain, "blocks").parts] == list(map(str, range(12)))
    (blocks,) = part(fold, "blocks").parts
    assert (blocks.label, blocks.copies, blocks.name) == ("0 … 11", 12, "blocks.0 … blocks.11")
    assert blocks.totals.params == 12 * part(plain, "blocks.0").totals.params
    assert {each.copies for each in blocks.parts} == {12}
    # of layer2's blocks the first halves the image
    of_resnet = part(swatcost.summary("resnet50", fold=True), "layer2").parts
    assert [(each.label, each.copies) for each in of_resnet] == [("0", 1), ("1 … 3", 3)]
    # equal in shape, not in sparsity
    kept = swatcost.summary("resnet50", fold=True, weights=0.5, keep_dense=["layer2.2.conv1"])
    assert [each.label for each in part(kept, "layer2").parts] == ["0", "1", "2", "3"]


def test_a_module_is_estimated_at_once() -> None:
    module, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 10)), torch.zeros(2, 3, 8, 8)
    by_shape = swatcost.estimate(module, input_shape=(3, 8, 8), weights=0.5)
    by_example = swatcost.estimate(module, example_inputs=x, weights=0.5)
    traced = swatcost.estimate(swatcost.trace(module, input_shape=(3, 8, 8)), weights=0.5)
    assert by_shape.costs == by_example.costs == traced.costs
    assert swatcost.summary(module, example_inputs=x, weights=0.5).estimate.costs == traced.costs
    assert swatcost.estimate("resnet18", input_shape=(3, 64, 64)).network.input_shapes[0][1:] == (3, 64, 64)


@pytest.mark.parametrize("function", [swatcost.estimate, swatcost.summary])
@pytest.mark.parametrize(
    ("network", "inputs", "message"),
    [
        (lambda: nn.Linear(3, 3), {}, "Linear is a module: give input_shape, the shape of one sample, or example_inp"),
        (
            lambda: nn.Linear(3, 3), {"input_shape": (3,), "example_inputs": torch.zeros(1, 3)},
            "give either example_inputs or input_shape",
        ),
        (lambda: zoo_network("resnet18"), {"input_shape": (3, 8, 8)}, "resnet18 is traced already: its input is fixed"),
        (lambda: zoo_network("resnet18"), {"example_inputs": torch.zeros(1)}, "example_inputs are for a module"),
        (lambda: "resnet18", {"example_inputs": torch.zeros(1)}, "example_inputs are for a module"),
        (lambda: "none.json", {"input_shape": (3, 8, 8)}, "cannot read none.json"),
        (lambda: 3, {}, "int is not a name or path"),
        (lambda: nn.Linear, {"input_shape": (3,)}, "is not a name or path"),
    ],
)  # fmt: skip
def test_bad_combinations_are_one_line(function: Any, network: Any, inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(swatcost.SwatcostError, match=re.escape(message)) as error:
        function(network(), **inputs)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("function", [planning.compare, swatcost.solve, swatcost.sweep, swatcost.load])
def test_what_takes_no_input_says_to_trace_a_module_first(function: Any) -> None:
    with pytest.raises(swatcost.SwatcostError, match=r"or trace a module with swatcost\.trace"):
        function(nn.Linear(3, 3))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"depth": 0}, "depth 0: give a positive whole number"),
        ({"depth": True}, "depth True"),
        ({"depth": 1.5}, "depth 1.5"),
        ({"columns": ["parms"]}, "unknown column 'parms': did you mean params"),
        ({"columns": []}, "columns are empty"),
        ({"weights": 1.5}, "weights 1.5"),
    ],
)
def test_what_cannot_be_shown_is_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(swatcost.SwatcostError, match=message):
        swatcost.summary("cifar_resnet18", **asked)


def test_a_summary_of_a_trace_imports_neither_torch_nor_pandas() -> None:
    code = "import swatcost, sys; repr(swatcost.summary('resnet50', weights=0.5)); "
    code += "print({'torch', 'pandas', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
