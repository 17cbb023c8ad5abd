"""Distributions: totals kept, proportions kept, files and checkpoints read as data."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import prune

import swatcost
from swatcost.distributions import DISTRIBUTIONS, Request
from swatcost.methods import METHODS
from swatcost.network import Network, Parameter
from swatcost.network.layer import Layer
from swatcost.sparsity import sparsity_plan

from .conftest import zoo_network


def network_of(shapes: list[tuple[int, ...]]) -> Network:
    """A network of convolutions with these weight shapes, on images of one pixel."""
    layers = tuple(
        Layer(
            name=f"l{number}", kind="conv", input_shape=(2, shape[1], *shape[2:]), output_shape=(2, shape[0], 1, 1),
            weight_shape=shape, stride=(1, 1), padding=(0, 0), dilation=(1, 1), parameters=(f"l{number}.weight",),
            weight=f"l{number}.weight", element_bytes=4, input_needs_grad=True, weight_trains=True,
            input_storage=number,
        )
        for number, shape in enumerate(shapes)
    )  # fmt: skip
    parameters = tuple(
        Parameter(name=layer.weight, shape=layer.weight_shape, element_bytes=4, trains=True) for layer in layers
    )
    return Network(
        name="n", input_shapes=(layers[0].input_shape,), batch_size=2, layers=layers, parameters=parameters,
        buffers=(), saved=(), uncounted=(), torch_version="",
    )  # fmt: skip


SHAPES = st.lists(
    st.tuples(st.integers(1, 64), st.integers(1, 64), st.integers(1, 5), st.integers(1, 5)), min_size=2, max_size=8
)


@settings(deadline=None)
@given(SHAPES, st.floats(0.01, 0.99), st.sampled_from(["er", "erk", "momentum"]), st.data())
def test_totals_are_kept(shapes: list[tuple[int, ...]], target: float, name: str, data: st.DataObject) -> None:
    network = network_of(shapes)
    source = None
    if name == "momentum":
        source = {layer.name: data.draw(st.floats(0.01, 1)) for layer in network.weight_layers}
    estimate = swatcost.estimate(network, weights=target, distribution=name, source=source)
    total = sum(math.prod(shape) for shape in shapes)
    assert estimate.non_zero_weights == pytest.approx((1 - target) * total, rel=1e-9)
    assert all(0 <= each.sparsity.weight < 1 for each in estimate.layers)
    assert all(each.sparsity.activation == each.sparsity.weight for each in estimate.layers)


@settings(deadline=None)
@given(SHAPES, st.floats(0.01, 0.99), st.sampled_from(["er", "erk"]))
def test_proportions_are_kept_among_layers_that_are_not_dense(
    shapes: list[tuple[int, ...]], target: float, name: str
) -> None:
    estimate = swatcost.estimate(network_of(shapes), weights=target, distribution=name)
    ratios = []
    for each in estimate.layers:
        dims = each.layer.weight_shape if name == "erk" else each.layer.weight_shape[:2]
        expected = sum(dims) / math.prod(dims)
        if each.sparsity.weight > 0:
            ratios.append((1 - each.sparsity.weight) / expected)
    if ratios:
        assert ratios == pytest.approx([ratios[0]] * len(ratios), rel=1e-6)
        # a layer that is dense would have had to be denser than that
        for each in estimate.layers:
            dims = each.layer.weight_shape if name == "erk" else each.layer.weight_shape[:2]
            if each.sparsity.weight == 0:
                assert ratios[0] * sum(dims) / math.prod(dims) >= 1 - 1e-6


def test_erk_by_hand() -> None:
    # 4 × 4 × 1 × 1 and 8 × 4 × 3 × 3: p = 10/16 and 18/288, n = 16 and 288, a quarter of 304 = 76 is kept.
    # ε = 76 / (10 + 18) = 2.714: the first would have density 1.70, so it is dense, and ε = 60 / 18 = 3.33.
    estimate = swatcost.estimate(network_of([(4, 4, 1, 1), (8, 4, 3, 3)]), weights=0.75, distribution="erk")
    assert [each.sparsity.weight for each in estimate.layers] == pytest.approx([0, 1 - 60 / 288])


@pytest.mark.parametrize(
    ("model", "target", "training", "inference"),
    [  # Table 2's ERK rows
        ("cifar_vgg16", 0.95, (89.5, 89.6), (89.5, 89.6)),
        ("cifar_wrn_16_8", 0.95, (91.25, 91.4), (91.6, 91.7)),
        ("cifar_densenet121", 0.9, (89.6, 89.7), (89.6, 89.7)),
    ],
)
def test_erk_of_table_2(
    model: str, target: float, training: tuple[float, float], inference: tuple[float, float]
) -> None:
    estimate = swatcost.estimate(zoo_network(model), weights=target, distribution="erk")
    assert training[0] <= 100 * estimate.training_reduction <= training[1]
    assert inference[0] <= 100 * estimate.inference_reduction <= inference[1]


def test_momentum_by_hand() -> None:
    # 100 and 900 weights, half of 1000 kept; shares 3 : 1 ask for 375 and 125, so the first is dense and its excess
    # of 275 goes to the second: 100 and 400
    network = network_of([(10, 10, 1, 1), (30, 30, 1, 1)])
    estimate = swatcost.estimate(network, weights=0.5, distribution="momentum", source={"l0": 3, "l1": 1})
    assert [each.sparsity.weight for each in estimate.layers] == pytest.approx([0, 1 - 400 / 900])


def test_activations_have_a_target_of_their_own_if_given() -> None:
    network = network_of([(8, 8, 3, 3), (16, 8, 3, 3)])
    follow = swatcost.estimate(network, weights=0.9, distribution="erk")
    own = swatcost.estimate(network, weights=0.9, acts=0.5, distribution="erk")
    assert [each.sparsity.activation for each in follow.layers] == [each.sparsity.weight for each in follow.layers]
    assert own.layers[0].sparsity.activation < own.layers[0].sparsity.weight
    assert swatcost.estimate(network, weights=0.9).act_sparsity == 0


def test_a_users_function() -> None:
    def by_size(layers: Sequence[Layer], target: float | None) -> list[float]:
        assert target is not None
        return [target if layer.weight_elements > 100 else target / 2 for layer in layers]

    network = network_of([(4, 4, 1, 1), (8, 4, 3, 3)])
    estimate = swatcost.estimate(network, weights=0.8, distribution=by_size)
    assert [each.sparsity.weight for each in estimate.layers] == [0.4, 0.8]
    assert estimate.to_dict()["distribution"] == "by_size"
    with pytest.raises(swatcost.SwatcostError, match="<lambda> returned 1 sparsities for 2 layers"):
        swatcost.estimate(network, weights=0.8, distribution=lambda layers, target: [0.5])


def test_n_of_m() -> None:
    network = network_of([(8, 3, 3, 3), (8, 8, 3, 3), (8, 6, 1, 1)])
    estimate = swatcost.estimate(network, weights=0.5, acts=0.5, distribution="nm")
    assert [each.sparsity.weight for each in estimate.layers] == [0, 0.5, 0]  # 4 divides 8 channels only
    assert [each.sparsity.activation for each in estimate.layers] == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(("target", "pattern"), [(None, (4, 4)), (0.25, (3, 4)), (0.5, (2, 4)), (0.75, (1, 4))])
def test_n_of_4_by_target(target: float | None, pattern: tuple[int, int]) -> None:
    estimate = swatcost.estimate(network_of([(8, 8, 3, 3)]), weights=target, distribution="nm")
    assert estimate.plan.pattern == pattern
    assert estimate.layers[0].sparsity.weight == (target or 0)


@pytest.mark.parametrize(("pattern", "sparsities"), [("2:8", [0, 0.75, 0]), ("1:3", [2 / 3, 0, 2 / 3])])
def test_any_n_of_m(pattern: str, sparsities: list[float]) -> None:
    network = network_of([(8, 3, 3, 3), (8, 8, 3, 3), (8, 6, 1, 1)])
    estimate = swatcost.estimate(network, distribution="nm", source=pattern)
    assert [each.sparsity.weight for each in estimate.layers] == pytest.approx(sparsities)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_global_magnitude_and_zeros(trained: tuple[Network, nn.Module], tmp_path: Path, suffix: str) -> None:
    network, module = trained
    with torch.no_grad():
        module[0].weight.copy_(torch.arange(1, 65).view(8, 8))
        module[1].weight.copy_(torch.where(torch.arange(32) < 8, 0, 100).view(4, 8))
    path = tmp_path / f"weights{suffix}"
    torch.save({"state_dict": module.state_dict()}, path) if suffix == ".pt" else save_file(module.state_dict(), path)
    kept = swatcost.estimate(network, weights=0.5, distribution="global", source=path)
    # 48 of 96 weights are kept: the 24 hundreds, and the 24 largest of 1 … 64
    assert [each.sparsity.weight for each in kept.layers] == pytest.approx([40 / 64, 8 / 32])
    zeros = swatcost.estimate(network, distribution="checkpoint", source=path)
    assert [each.sparsity.weight for each in zeros.layers] == pytest.approx([0, 8 / 32])


def test_momentum_from_an_optimizer(trained: tuple[Network, nn.Module], tmp_path: Path) -> None:
    network, module = trained
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    module(torch.randn(4, 8)).square().sum().backward()
    optimizer.step()
    path = tmp_path / "run.pt"
    torch.save({"model": module.state_dict(), "optimizer": optimizer.state_dict()}, path)
    shares = []
    for parameter in module.parameters():  # mean |momentum| over the largest half of the weights
        active = parameter.detach().abs().flatten().argsort(descending=True)[: parameter.numel() // 2]
        shares.append(float(optimizer.state[parameter]["momentum_buffer"].abs().flatten()[active].mean()))
    found = swatcost.estimate(network, weights=0.5, distribution="momentum", source=path)
    given = swatcost.estimate(network, weights=0.5, distribution="momentum", source={"0": shares[0], "1": shares[1]})
    for one, other in zip(found.layers, given.layers, strict=True):
        assert one.sparsity.weight == pytest.approx(other.sparsity.weight, rel=1e-5)


def test_momentum_of_several_groups_needs_names(trained: tuple[Network, nn.Module]) -> None:
    network, module = trained
    first, second = module.parameters()
    given = {}
    for name, groups in {
        "plain": [{"params": [first, second]}],
        "unnamed": [{"params": [second]}, {"params": [first]}],
        "named": [{"params": [("1.weight", second)]}, {"params": [("0.weight", first)]}],
    }.items():
        optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
        for parameter in (first, second):
            parameter.grad = torch.full_like(parameter, 3.0 if parameter is first else 1.0)
        source = {"model": {key: each.clone() for key, each in module.state_dict().items()}}
        optimizer.step()
        settings: dict[str, Any] = {"weights": 0.5, "distribution": "momentum"}
        settings["source"] = source | {"optimizer": optimizer.state_dict()}
        if name == "unnamed":
            with pytest.raises(swatcost.SwatcostError, match="several parameter groups"):
                swatcost.estimate(network, **settings)
        else:
            given[name] = [each.sparsity.weight for each in swatcost.estimate(network, **settings).layers]
    assert given["named"] == pytest.approx(given["plain"])


@pytest.mark.parametrize("target", [0.0, 0.001, 0.01])
def test_momentum_keeps_totals_at_low_sparsity_too(target: float) -> None:
    network = network_of([(200, 200, 1, 1), (2, 200, 1, 1)])
    shares = {"l0": 40_000, "l1": 10}
    estimate = swatcost.estimate(network, weights=target, distribution="momentum", source=shares)
    assert estimate.non_zero_weights == pytest.approx((1 - target) * 40_400)


def test_weights_that_are_not_finite(trained: tuple[Network, nn.Module]) -> None:
    network, module = trained
    with torch.no_grad():
        module[1].weight[0, 0] = math.nan
    for name, weights in (("checkpoint", None), ("global", 0.5)):
        with pytest.raises(swatcost.SwatcostError, match=r"1\.weight contains numbers that are not finite"):
            swatcost.estimate(network, weights=weights, distribution=name, source=module.state_dict())


TABLES = {
    "t.csv": "\ufefflayer, weights,acts\nl[12],0.75,\n\nl[01],0.9,\nl0,0.5,0.25\n",
    "t.json": json.dumps({"l[12]": 0.75, "l[01]": 0.9, "l0": {"weights": 0.5, "acts": 0.25}}),
    "t.yaml": "'l[12]': 0.75\n'l[01]': 0.9\nl0: {weights: 0.5, acts: 0.25}\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(TABLES[name])
    network = network_of([(4, 4, 1, 1)] * 4)
    estimate = swatcost.estimate(network, distribution="file", source=str(path))
    assert [each.sparsity.weight for each in estimate.layers] == [0.5, 0.75, 0.75, 0]
    assert [each.sparsity.activation for each in estimate.layers] == [0.25, 0.75, 0.75, 0]


def test_a_name_that_matches_nothing_is_shown_beside_four_that_there_are() -> None:
    with pytest.raises(swatcost.SwatcostError, match="'l9' matches no layer: the layers are l0, l1, l2, l3, …"):
        swatcost.estimate(network_of([(4, 4, 1, 1)] * 5), distribution="file", source={"l9": 0.5})


NETWORK = network_of([(4, 4, 1, 1), (8, 4, 3, 3)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distribution": "erk"}, "needs a target sparsity"),
        (
            {"distribution": "erk", "weights": 0.9, "keep_dense": ["l1"]},
            "cannot be reached: layers kept dense hold 94.7 %",
        ),
        ({"distribution": "nm", "weights": 0.6}, "0.6 is not an N:4 sparsity"),
        ({"distribution": "nm", "source": "4:2"}, "'4:2' is not an N:M pattern"),
        ({"distribution": "nm", "source": "0:4"}, "'0:4' is not an N:M pattern"),
        ({"distribution": "nm", "source": "2:4", "weights": 0.75}, "2:4 has sparsity 0.5"),
        ({"distribution": "nm", "source": "1:4", "weights": 0.5}, "1:4 has sparsity 0.75, leave weights out"),
        ({"distribution": "file"}, "needs a table of sparsities"),
        ({"distribution": "file", "source": {"l0": 0.5}, "weights": 0.5}, "the file defines the sparsities"),
        ({"distribution": "file", "source": {"l9": 0.5}}, "'l9' matches no layer: the layers are l0, l1"),
        ({"distribution": "file", "source": {"l0": "much"}}, "'much' for layer 'l0' is not a number"),
        ({"distribution": "file", "source": {"l0": 1.5}}, "the mapping: weights of 'l0': 1.5 is not a sparsity"),
        ({"distribution": "file", "source": {"l0": math.nan}}, "is not a sparsity"),
        ({"distribution": "file", "source": {}}, "has no numbers"),
        ({"distribution": "file", "source": {"*": None}}, "has no number for layer '\\*'"),
        ({"distribution": "file", "source": {"*": {"weight": 0.9}}}, "no column called weights or acts"),
        ({"distribution": "file", "source": {"*": 10**400}}, "is not a number"),
        ({"distribution": "file", "source": {"*": 80}, "method": "swat-structured"}, "80.0 is not a sparsity"),
        ({"distribution": "file", "source": {"*": math.inf}, "method": "swat-structured"}, "inf is not a sparsity"),
        ({"source": {"l0": 0.5}}, "distribution 'uniform' reads no file"),
        ({"distribution": lambda layers, target: None}, "returned a NoneType"),
        ({"distribution": lambda layers, target: {"l0": 1}}, "returned a dict"),
        ({"distribution": lambda layers, target: [None, 0.5]}, "None is not a sparsity"),
        ({"distribution": 5}, "unknown distribution 5"),
        ({"distribution": "checkpoint", "source": 5}, "reads a checkpoint"),
        ({"distribution": "file", "source": "none.csv"}, "cannot read none.csv"),
        ({"distribution": "file", "source": 3}, "3 is not a table"),
        ({"distribution": "momentum", "weights": 0.5}, "needs shares by layer or a checkpoint"),
        ({"distribution": "momentum", "weights": 0.5, "source": {"l0": 1}}, "no momentum share for layer l1"),
        ({"distribution": "momentum", "weights": 0.5, "source": {"l*": -1}}, "have to be non-negative"),
        ({"distribution": "momentum", "weights": 0.5, "source": {"*": 0}}, "have to be non-negative"),
        (  # 16 of 304 weights are dense, half a weight more than can be kept
            {"distribution": "erk", "weights": 1 - 15.5 / 304, "keep_dense": ["l0"]},
            "cannot be reached: layers kept dense hold 5.3 %",
        ),
        ({"distribution": "global", "weights": 0.5}, "reads a checkpoint"),
        ({"distribution": "checkpoint", "weights": 0.5, "source": "x.pt"}, "the checkpoint defines the sparsity"),
        ({"distribution": "checkpoint", "source": "none.pt"}, "cannot read none.pt"),
        ({"distribution": "checkpoint", "source": "none.safetensors"}, "cannot read none.safetensors"),
    ],
)
def test_unusable_requests(options: dict[str, Any], message: str) -> None:
    with pytest.raises(swatcost.SwatcostError, match=message):
        swatcost.estimate(NETWORK, **options)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", b"name,weights\nl0,0.5\n"),
        ("t.csv", b"\xff\xfe\x00"),
        ("t.json", b"{"),
        ("t.json", b"[1]"),
        ("t.yaml", b"!!python/object/apply:os.system ['true']"),
        ("t.yaml", b"a: [1"),
    ],
)
def test_damaged_tables_are_named(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(swatcost.SwatcostError, match=name):
        swatcost.estimate(NETWORK, distribution="file", source=path)


def test_checkpoints_of_other_precisions(trained: tuple[Network, nn.Module], tmp_path: Path) -> None:
    network, module = trained
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        save_file({name: tensor.to(dtype) for name, tensor in module.state_dict().items()}, tmp_path / "c.safetensors")
        estimate = swatcost.estimate(network, distribution="checkpoint", source=tmp_path / "c.safetensors")
        assert estimate.weight_sparsity == 0


@pytest.mark.parametrize(
    "state", [{}, {"state": {}, "param_groups": 3}, {"state": 1, "param_groups": [{"params": [0, 1]}]}]
)
def test_damaged_optimizer_states(trained: tuple[Network, nn.Module], state: Any) -> None:
    network, module = trained
    with pytest.raises(swatcost.SwatcostError, match="optimizer"):
        swatcost.estimate(
            network, weights=0.5, distribution="momentum", source={"model": module.state_dict(), "optimizer": state}
        )


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"cos\nsystem\n(S'true'\ntR."])
def test_damaged_checkpoints_are_named_and_never_run(tmp_path: Path, content: bytes) -> None:
    for name in ("c.pt", "c.safetensors"):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(swatcost.SwatcostError, match=f"{name} is not a usable checkpoint"):
            swatcost.estimate(NETWORK, distribution="checkpoint", source=path)


def test_a_checkpoint_of_another_network_is_named(trained: tuple[Network, nn.Module], tmp_path: Path) -> None:
    network, _ = trained
    path = tmp_path / "c.pt"
    torch.save(nn.Sequential(nn.Linear(8, 9, bias=False)).state_dict(), path)
    with pytest.raises(swatcost.SwatcostError, match=r"0\.weight has 72 elements, not the network's 64"):
        swatcost.estimate(network, distribution="checkpoint", source=path)


def test_masks_of_pruning_by_hand() -> None:
    module = nn.Sequential(nn.Linear(4, 3, bias=False), nn.Linear(3, 2, bias=False), nn.Linear(2, 2, bias=False))
    prune.custom_from_mask(module[0], "weight", torch.tensor([[0.0, 1, 1, 1]] * 3))
    prune.custom_from_mask(module[1], "weight", torch.tensor([[0.0, 0, 1], [1, 0, 1]]))
    network = swatcost.trace(module, input_shape=(4,))
    found = swatcost.estimate(network, distribution="mask", acts=0.5)
    assert [each.sparsity.weight for each in found.layers] == pytest.approx([3 / 12, 3 / 6, 0])
    assert [each.sparsity.activation for each in found.layers] == [0.5, 0.5, 0.5]
    assert [each.sparsity.activation for each in swatcost.estimate(network, distribution="mask").layers] == [0, 0, 0]
    # what a method's own runs left dense has no say in what was measured
    keeps_first = replace(METHODS["swat"], keeps_dense=("0",))
    plan = sparsity_plan(network, method=keeps_first, distribution=DISTRIBUTIONS["mask"])
    assert [each.weight for each in plan.layers] == pytest.approx([3 / 12, 3 / 6, 0])
    with pytest.raises(swatcost.SwatcostError, match="the masks define the sparsities"):
        swatcost.estimate(network, distribution="mask", weights=0.5)
    with pytest.raises(swatcost.SwatcostError, match="has no pruning masks"):
        swatcost.estimate(NETWORK, distribution="mask")


def test_one_weight_too_many_is_kept_dense(trained: tuple[Network, nn.Module]) -> None:
    network, module = trained  # 64 and 32 weights; with the first dense, 64 of 96 is the least that can be kept
    state = module.state_dict()
    for kept, message in ((63, "cannot be reached: layers kept dense"), (64, "cannot be trained")):
        with pytest.raises(swatcost.SwatcostError, match=message):
            swatcost.estimate(
                network, weights=1 - kept / 96, distribution="global", source=state, keep_dense=["0"], method="swat"
            )
    found = swatcost.estimate(network, weights=1 - 65 / 96, distribution="global", source=state, keep_dense=["0"])
    assert [each.sparsity.weight for each in found.layers] == pytest.approx([0, 31 / 32])


def test_tensors_that_are_no_arrays_are_named(trained: tuple[Network, nn.Module]) -> None:
    with pytest.raises(swatcost.SwatcostError, match="the checkpoint is not a usable checkpoint"):
        swatcost.estimate(trained[0], distribution="checkpoint", source={"0.weight": torch.eye(8).to_sparse()})


@pytest.mark.parametrize(
    ("name", "kept", "breakpoints"),
    [
        # n = 16 and 288; erk: p = 10/16 and 18/288, 16 p + 288 p = 28: the first is dense from 28 / p = 44.8 weights
        ("erk", [], [0, 1 - 44.8 / 304, 1]),
        # er: p = 8/16 and 12/32, so 8 + 108 = 116, and the first is dense from 116 / 0.5 = 232 weights on
        ("er", [], [0, 1 - 232 / 304, 1]),
        ("erk", ["l0.weight"], [0, 288 / 304]),  # the 16 that stay dense are the least there can be
        ("er", ["l1.weight"], [0, 16 / 304]),
        ("uniform", [], [0, 1]),
    ],
)
def test_breakpoints_by_hand(name: str, kept: list[str], breakpoints: list[float]) -> None:
    distribution = DISTRIBUTIONS[name]
    assert distribution.breakpoints is not None
    request = Request(layers=NETWORK.weight_layers, kept_dense=frozenset(kept), target=None)
    assert distribution.breakpoints(request) == pytest.approx(breakpoints, abs=1e-8)
    assert max(distribution.breakpoints(request)) < max(breakpoints)  # where the last layer would be empty


def test_a_layer_is_dense_up_to_its_breakpoint() -> None:
    for name, bend in (("erk", 1 - 44.8 / 304), ("er", 1 - 232 / 304)):
        for target, sparse in ((bend + 0.01, True), (bend, False), (bend - 0.01, False)):
            found = swatcost.estimate(NETWORK, weights=target, distribution=name).layers[0].sparsity.weight
            assert (found > 1e-9) == sparse


def test_a_checkpoint_of_a_pruned_module_has_its_weight_in_two_parts() -> None:
    network = swatcost.trace(nn.Linear(4, 3, bias=False), input_shape=(4,))
    original, mask = torch.ones(3, 4), torch.tensor([[0.0, 1, 1, 1]] * 3)
    for state, zeros in (
        ({"weight_orig": original, "weight_mask": mask}, 3 / 12),
        ({"weight_orig": original}, 0),
        ({"weight_orig": original, "weight_mask": mask[:2]}, 0),  # a mask of something else
        ({"weight": original, "weight_mask": mask}, 0),
        ({"module.weight": mask}, 3 / 12),  # as DataParallel names it
    ):
        found = swatcost.estimate(network, distribution="checkpoint", source=state)
        assert found.layers[0].sparsity.weight == pytest.approx(zeros)
    with pytest.raises(swatcost.SwatcostError, match="has no tensor called weight"):
        swatcost.estimate(network, distribution="checkpoint", source={"weight_mask": mask})
