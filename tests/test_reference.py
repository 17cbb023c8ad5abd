"""The executed reference against torch's own layers, and against compositions that share no code with it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from swatcost_models import ZOO
from torch import Tensor, nn
from torch.nn import grad as gradients

import swatcost
from swatcost import reference
from swatcost.common.errors import SwatcostError
from swatcost.reference.sparsifier import Clock, Sparsifier
from swatcost.reference.thresholds import SELECTIONS

CONVS = {
    "plain": {},
    "strided": {"stride": 2, "padding": 1},
    "grouped": {"groups": 2, "padding": 1},
    "dilated": {"dilation": 2, "padding": (2, 1)},
    "all three": {"stride": (2, 1), "dilation": (1, 2), "groups": 4, "padding": 2},
}


def estimate_of(module: nn.Module, *shape: int, period: int = 1, **settings: Any) -> swatcost.Estimate:
    network = swatcost.trace(module, input_shape=shape)
    return swatcost.estimate(network, period=period, first_layer="sparse", **settings)


def largest(x: Tensor, kept: int) -> Tensor:
    """x with all but the largest so many zeroed, written with argsort."""
    mask = torch.zeros(x.numel(), dtype=x.dtype)
    mask[x.abs().flatten().argsort(descending=True)[:kept]] = 1
    return x * mask.reshape(x.shape)


@pytest.mark.parametrize("geometry", CONVS.values(), ids=CONVS)
@pytest.mark.parametrize("method", ["swat", "saw"])
def test_gradients_equal_a_composition_on_masked_tensors(geometry: dict[str, Any], method: str) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 12, 3, **geometry).double()
    x = torch.randn(3, 8, 11, 9, dtype=torch.double, requires_grad=True)
    x_sparse = largest(x.detach(), round(0.3 * x.numel()))
    w = conv.weight.detach()
    w_sparse = largest(w, round(0.2 * w.numel()))
    arguments = (conv.stride, conv.padding, conv.dilation, conv.groups)
    expected = nn.functional.conv2d(x.detach(), w_sparse if method == "swat" else w, conv.bias, *arguments)
    grad = torch.randn_like(expected)
    with reference.convert(conv, estimate_of(conv, 8, 11, 9, weights=0.8, acts=0.7, method=method)):
        output = conv(x)
        output.backward(grad)
    assert x.grad is not None
    assert conv.weight.grad is not None
    assert conv.bias is not None
    torch.testing.assert_close(output.detach(), expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(x.grad, gradients.conv2d_input(x.shape, w_sparse, grad, *arguments), rtol=0, atol=1e-10)
    torch.testing.assert_close(
        conv.weight.grad, gradients.conv2d_weight(x_sparse, w.shape, grad, *arguments), rtol=0, atol=1e-10
    )
    torch.testing.assert_close(conv.bias.grad, grad.sum((0, 2, 3)), rtol=0, atol=1e-10)


def test_linear_gradients_equal_products_of_masked_matrices() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(20, 12).double()
    x = torch.randn(2, 5, 20, dtype=torch.double, requires_grad=True)
    x_sparse, w_sparse = largest(x.detach(), 20), largest(linear.weight.detach(), 24)
    grad = torch.randn(2, 5, 12, dtype=torch.double)
    with reference.convert(linear, estimate_of(linear, 5, 20, weights=0.9, acts=0.9)):
        linear(x).backward(grad)
    torch.testing.assert_close(x.grad, torch.einsum("nlf,fc->nlc", grad, w_sparse), rtol=0, atol=1e-10)
    torch.testing.assert_close(linear.weight.grad, torch.einsum("nlf,nlc->fc", grad, x_sparse), rtol=0, atol=1e-10)


def test_meprop_makes_only_the_gradient_sparse() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 6, 3, padding=1).double()
    x = torch.randn(2, 4, 7, 7, dtype=torch.double, requires_grad=True)
    grad = torch.randn(2, 6, 7, 7, dtype=torch.double)
    thin = largest(grad, round(0.1 * grad.numel()))
    with reference.convert(conv, estimate_of(conv, 4, 7, 7, grads=0.9, method="meprop")):
        output = conv(x)
        output.backward(grad)
    w = conv.weight.detach()
    torch.testing.assert_close(output, nn.functional.conv2d(x, w, conv.bias, padding=1))
    torch.testing.assert_close(x.grad, gradients.conv2d_input(x.shape, w, thin, padding=1), rtol=0, atol=1e-10)
    torch.testing.assert_close(
        conv.weight.grad, gradients.conv2d_weight(x.detach(), w.shape, thin, padding=1), rtol=0, atol=1e-10
    )


LAYERS = {
    "conv1d": (nn.Conv1d(4, 6, 3, padding="same"), (4, 9)),
    "conv3d": (nn.Conv3d(2, 4, 2, stride=2), (2, 4, 6, 4)),
    "circular": (nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"), (4, 6, 6)),
    "same": (nn.Conv2d(4, 6, (5, 3), padding="same"), (4, 6, 6)),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2), (4, 5, 5)),
    "linear": (nn.Linear(6, 3), (5, 6)),
    "attention": (nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True), (5, 8)),
    "attention, batch second": (nn.TransformerEncoderLayer(8, 2, 16, 0.0), (5, 8)),
}


@pytest.mark.parametrize(("module", "shape"), LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("training", [True, False])
def test_without_sparsity_it_is_torch(module: nn.Module, shape: tuple[int, ...], training: bool) -> None:
    torch.manual_seed(0)
    module = copy.deepcopy(module).double().train(training)
    own = copy.deepcopy(module)
    estimate = swatcost.estimate(swatcost.trace(module, torch.randn(2, *shape).double()), period=1)
    x, y = (torch.ones(2, *shape, dtype=torch.double).cumsum(1).requires_grad_() for _ in range(2))
    with reference.convert(module, estimate) as converted:
        assert not converted.left_dense
        assert any(type(part).__name__.startswith("Sparse") for part in module.modules())
        output = module(x)
        output.sin().sum().backward()
    expected = own(y)
    expected.sin().sum().backward()
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(x.grad, y.grad)
    for mine, theirs in zip(module.parameters(), own.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)
    assert type(module) is type(own)


@pytest.mark.parametrize("masks", ["none", "bool", "float", "padding", "both", "by head"])
@pytest.mark.parametrize("need_weights", [True, False])
def test_attention_is_torch_whatever_the_mask(masks: str, need_weights: bool) -> None:
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(8, 2, batch_first=True).double()
    own = copy.deepcopy(attention)
    q, kv = torch.randn(3, 4, 8).double(), torch.randn(3, 5, 8).double()
    later = torch.ones(4, 5, dtype=torch.bool).triu(2)
    given: dict[str, Any] = {"need_weights": need_weights}
    if masks in ("bool", "both"):
        given["attn_mask"] = later
    if masks == "float":
        given["attn_mask"] = torch.randn(4, 5).double()
    if masks == "by head":
        given["attn_mask"] = torch.randn(6, 4, 5).double()
    if masks in ("padding", "both"):
        given["key_padding_mask"] = torch.tensor([[False] * 4 + [True]] * 3)
    estimate = swatcost.estimate(swatcost.trace(attention, {"query": q, "key": kv, "value": kv}))
    with reference.convert(attention, estimate) as converted:
        assert not converted.left_dense
        found = attention(q, kv, kv, **given)
    expected = own(q, kv, kv, **given)
    torch.testing.assert_close(found, expected)


def test_every_zoo_network_is_swapped_whole(zoo_name: str) -> None:
    with torch.device("meta"):
        module = ZOO[zoo_name].build()
    before = [type(part) for part in module.modules()]
    keys = list(module.state_dict())
    converted = reference.convert(module, swatcost.estimate(zoo_name, weights=0.8, acts=0.8))
    network = converted.estimate.network
    routed, whole = ([each.weight for each in network.weight_layers if each.routed is kind] for kind in (True, False))
    assert [*converted.left_dense] == routed  # experts, whose products are grouped
    assert [*converted.layers] == whole
    assert list(module.state_dict()) == keys
    converted.undo()
    assert [type(part) for part in module.modules()] == before


def test_a_user_s_own_multiplications_are_named_as_left_dense() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)
            self.weight = nn.Parameter(torch.randn(4, 4))

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.linear(self.linear(x), self.weight)

    module = Own()
    assert reference.convert(module, estimate_of(module, 4, weights=0.5)).left_dense == ("weight",)


def small() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(8 * 36, 5),
    )  # fmt: skip


def train(module: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        torch.manual_seed(100 + step)
        x, y = torch.randn(6, 2, 6, 6), torch.randint(0, 5, (6,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x), y).backward()
        optimizer.step()


@pytest.mark.parametrize("over", ["nchw", "chw", "hw", "random"])
@pytest.mark.parametrize("ahead", [0, 2])
def test_a_resumed_run_is_the_same_to_the_bit(over: Any, ahead: int) -> None:
    def converted(module: nn.Module) -> tuple[reference.Converted, torch.optim.Optimizer]:
        estimate = estimate_of(module, 2, 6, 6, weights=0.7, acts=0.7, period=4)
        swapped = reference.convert(module, estimate, over=over, ahead=ahead, seed=3)
        return swapped, torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)

    whole = small()
    _, optimizer = converted(whole)
    train(whole, optimizer, range(11))

    first = small()
    swapped, optimizer = converted(first)
    train(first, optimizer, range(6))
    states = copy.deepcopy((first.state_dict(), optimizer.state_dict(), swapped.state_dict()))

    second = small()
    swapped, optimizer = converted(second)
    for each, state in zip((second, optimizer, swapped), states, strict=True):
        each.load_state_dict(state)
    train(second, optimizer, range(6, 11))
    for mine, theirs in zip(second.parameters(), whole.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_weights_that_are_masked_are_updated_and_come_back() -> None:
    """Algorithm 1 updates all weights, so the active ones change."""
    module = small()
    estimate = estimate_of(module, 2, 6, 6, weights=0.8, acts=0.5)
    converted = reference.convert(module, estimate)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.02)
    weight = module[3].weight
    layer = converted.layers["3.weight"]
    train(module, optimizer, range(1))
    before, active = weight.detach().clone(), layer.weight.kept(weight)
    train(module, optimizer, range(1, 6))
    assert active is not None
    assert (weight != before)[~active].all()
    assert not torch.equal(layer.weight.kept(weight), active)


def test_thresholds_last_a_period() -> None:
    module = small()
    converted = reference.convert(module, estimate_of(module, 2, 6, 6, weights=0.8, acts=0.5, period=3))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.02)
    thresholds = []
    for step in range(7):
        train(module, optimizer, range(step, step + 1))
        layer = converted.layers["3.weight"]
        thresholds.append((float(layer.weight.thresholds[0]), float(layer.activation.thresholds[0])))
    assert thresholds[0] == thresholds[1] == thresholds[2] != thresholds[3] == thresholds[5] != thresholds[6]


def test_a_selection_ahead_uses_what_it_found_earlier() -> None:
    clock = Clock(period=4, ahead=1)
    sparsifier = Sparsifier(clock, 0.5, "nchw")
    used = []
    for iteration in range(9):
        clock.iteration = iteration
        sparsifier(torch.arange(4.0) + 10 * iteration)
        used.append(float(sparsifier.thresholds[0]))
    # the smaller two of (10 i, …, 10 i + 3) are zeroed: 10 i + 1; found in iteration 3 for 4, in 7 for 8
    assert used == [1, 1, 1, 1, 31, 31, 31, 31, 71]


def test_one_sample_decides_for_the_batch() -> None:
    sparsifier = Sparsifier(Clock(iteration=0), 0.5, "nchw", of_samples=True, one_sample=True)
    kept = sparsifier(torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8]]))
    assert kept.tolist() == [[0, 0, 3, 4], [5, 6, 7, 8]]


def test_what_a_threshold_spans() -> None:
    x = torch.tensor([[[[1.0, 2], [3, 4]], [[5, 6], [7, 8]]], [[[9, 10], [11, 12]], [[13, 14], [15, 16]]]])
    zeros = {
        "nchw": [1, 2, 3, 4, 5, 6, 7, 8],
        "chw": [1, 2, 3, 4, 9, 10, 11, 12],
        "hw": [1, 2, 5, 6, 9, 10, 13, 14],
        "kernel": [1, 2, 3, 4, 5, 6, 7, 8],  # L1 norms 10, 26, 42, 58
    }
    for over, masked in zeros.items():
        kept = Sparsifier(Clock(iteration=0), 0.5, over)(x)  # type: ignore[arg-type]
        assert sorted(x[kept == 0].tolist()) == masked
    random = Sparsifier(Clock(iteration=0), 0.5, "random")(x)
    assert int((random == 0).sum()) == 8


def test_structured_swat_prunes_whole_kernels() -> None:
    conv = nn.Conv2d(4, 4, 3)
    estimate = estimate_of(conv, 4, 6, 6, weights=0.5, acts=0.5, method="swat-structured")
    with reference.convert(conv, estimate) as converted:
        kept = converted.layers["weight"].weight(conv.weight)
    pruned = (kept == 0).flatten(2).all(-1)
    norms = conv.weight.abs().flatten(2).sum(-1)
    assert int(pruned.sum()) == 8
    assert norms[pruned].max() < norms[~pruned].min()


@pytest.mark.parametrize(
    ("selection", "dtype"),
    [
        pytest.param(selection, dtype, id=f"{selection.name}-{dtype}")
        for selection in SELECTIONS
        for dtype in (torch.float32, torch.float64, torch.bfloat16)
        if not (selection.name == "partition" and dtype == torch.bfloat16)  # which numpy does not have
    ],
)
def test_selections_find_the_threshold(selection: reference.Selection, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    magnitudes = torch.randn(20_000).to(dtype).abs()
    for zeros in (1, 9_000, 18_000, 19_999):
        threshold = selection.find(magnitudes, zeros)
        expected = sorted(magnitudes.tolist())[zeros - 1]
        if selection.exact:
            assert float(threshold) == expected
        else:
            reached = int((magnitudes <= threshold).sum())
            assert abs(reached - zeros) <= 0.04 * 20_000
            assert reached < 20_000


def test_evaluation_uses_the_trained_sparsity_and_leaves_the_clock_alone() -> None:
    module = small()
    converted = reference.convert(module, estimate_of(module, 2, 6, 6, weights=0.8, acts=0.5))
    train(module, torch.optim.SGD(module.parameters(), lr=0.1), range(3))
    module.eval()
    x = torch.randn(2, 2, 6, 6)
    with torch.no_grad():
        output = module(x)
    assert converted.clock.iteration == 2
    thresholds = {name: layer.weight.thresholds[0] for name, layer in converted.layers.items()}
    converted.undo()
    with torch.no_grad():
        for name, threshold in thresholds.items():
            weight = module.get_parameter(name)
            weight[weight.abs() <= threshold] = 0
        torch.testing.assert_close(module(x), output)


def test_it_runs_under_autocast_and_checkpointing() -> None:
    from torch.utils.checkpoint import checkpoint

    module = small()
    converted = reference.convert(module, estimate_of(module, 2, 6, 6, weights=0.8, acts=0.5))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        module(torch.randn(2, 2, 6, 6)).float().sum().backward()
    assert module[0].weight.grad is not None
    assert module[0].weight.grad.dtype == torch.float32

    class Checkpointed(nn.Module):
        def __init__(self, body: nn.Module) -> None:
            super().__init__()
            self.body = body

        def forward(self, x: Tensor) -> Tensor:
            return checkpoint(self.body, x, use_reentrant=False)  # type: ignore[no-any-return]

    converted.undo()
    outer = Checkpointed(small())
    network = swatcost.trace(outer, input_shape=(2, 6, 6))
    estimate = swatcost.estimate(network, weights=0.8, acts=0.5, period=2, first_layer="sparse")
    plain = small()
    grads = []
    for model in (outer, plain):
        made = estimate if model is outer else estimate_of(plain, 2, 6, 6, weights=0.8, acts=0.5, period=2)
        with reference.convert(model, made) as swapped:
            train(model, torch.optim.SGD(model.parameters(), lr=0.1), range(3))
            assert swapped.clock.iteration == 2
        grads.append([parameter.grad for parameter in model.parameters()])
    for mine, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_a_converted_module_can_be_copied_and_saved(tmp_path: Path) -> None:
    module = small()
    converted = reference.convert(module, estimate_of(module, 2, 6, 6, weights=0.8, acts=0.5, period=2))
    train(module, torch.optim.SGD(module.parameters(), lr=0.1), range(1))
    torch.save(module, tmp_path / "whole.pt")
    for other in (copy.deepcopy(module), torch.load(tmp_path / "whole.pt", weights_only=False)):
        train(other, torch.optim.SGD(other.parameters(), lr=0.1), range(1, 3))
        assert (converted.clock.iteration, other[0].swat.clock.iteration) == (0, 2)
        assert other[0].swat.clock is other[3].swat.clock
    with pytest.raises(SwatcostError, match="converted already"):
        reference.convert(module, converted.estimate)
    converted.undo()
    converted.undo()
    assert type(module[0]) is nn.Conv2d


def test_what_wraps_a_module_does_not_matter() -> None:
    module = small()
    wrapped = nn.DataParallel(module)
    estimate = swatcost.estimate(swatcost.trace(wrapped, input_shape=(2, 6, 6)), weights=0.8)
    assert len(reference.convert(wrapped, estimate).layers) == 3


def test_frozen_layers_keep_no_masked_input() -> None:
    module = small()
    module[0].requires_grad_(False)
    estimate = estimate_of(module, 2, 6, 6, weights=0.8, acts=0.8)
    with reference.convert(module, estimate) as converted, converted.counting() as counts:
        train(module, torch.optim.SGD(module[3:].parameters(), lr=0.1), range(1))
    assert set(counts["0.weight"][0].macs) == {"forward"}
    assert counts["0.weight"][0].act_kept is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"over": "rows"}, "choose from nchw"),
        ({"over": "kernel"}, "swat-structured"),
        ({"over": "chw", "selection": "topk"}, "does not use selection"),
        ({"selection": "magic"}, "unknown selection"),
        ({"ahead": 9}, "between 0 and the period"),
    ],
)
def test_what_cannot_be_run_is_refused(options: dict[str, Any], message: str) -> None:
    module = small()
    estimate = estimate_of(module, 2, 6, 6, weights=0.5, period=4)
    with pytest.raises(SwatcostError, match=message):
        reference.convert(module, estimate, **options)


def test_other_methods_and_other_networks_are_refused() -> None:
    module = small()
    with pytest.raises(SwatcostError, match="estimated, not run"):
        reference.convert(module, estimate_of(module, 2, 6, 6, weights=0.5, method="rigl"))
    with pytest.raises(SwatcostError, match="another network"):
        reference.convert(nn.Linear(3, 3), estimate_of(module, 2, 6, 6, weights=0.5))
    one, two = (reference.convert(each, estimate_of(each, *shape)) for each, shape in
                ((small(), (2, 6, 6)), (nn.Linear(3, 3), (3,))))  # fmt: skip
    with pytest.raises(SwatcostError, match="another network"):
        two.load_state_dict(one.state_dict())


def test_padding_to_the_same_size_is_no_data() -> None:
    """As many MACs as with the padding written out; the input's elements are those of the image."""
    same, written = nn.Conv2d(2, 4, (4, 3), padding="same"), nn.Conv2d(2, 4, 3, padding=1)
    for conv in (same, written):
        estimate = estimate_of(conv, 2, 6, 6, weights=0.5, acts=0.5)
        x = torch.randn(2, 2, 6, 6)
        with reference.convert(conv, estimate) as converted, converted.counting() as counts:
            conv(x).sum().backward()
        elements = counts["weight"][0].act_elements
        assert elements == (2 * 2 * 6 * 6 if conv is written else 2 * 2 * 7 * 6)  # torch pads one uneven row itself


def test_a_single_row_goes_through_a_linear_layer() -> None:
    linear, x = nn.Linear(6, 3), torch.randn(6)
    own = copy.deepcopy(linear)
    estimate = swatcost.estimate(swatcost.trace(linear, input_shape=(6,)))
    with reference.convert(linear, estimate):
        linear(x).square().sum().backward()
    own(x).square().sum().backward()
    torch.testing.assert_close(linear.bias.grad, own.bias.grad)


def test_thresholds_of_samples_are_never_another_batch_s() -> None:
    sparsifier = Sparsifier(Clock(period=4, ahead=1), 0.5, "chw", of_samples=True)
    for iteration in range(9):
        sparsifier.clock.iteration = iteration
        kept = sparsifier(torch.randn(2 + iteration % 2, 4, 3) * (1 + iteration))
        assert (kept == 0).sum(dim=(1, 2)).tolist() == [6] * len(kept)
