"""Training on sparse kernels against the same training on masked dense tensors."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import swatcost
from swatcost import reference
from swatcost.common.errors import SwatcostError
from swatcost.reference.sparsifier import OVER

from .cases import Applied

pytest.importorskip("numba")
pytestmark = pytest.mark.usefixtures("one_thread")

CLOSE = 1e-4
"""Largest difference of outputs and gradients, relative to the largest number of the tensor."""


def convolutions(*middle: nn.Module, channels: int = 8, inplace: bool = False, bias: bool = True) -> nn.Module:
    """Two convolutions with other layers between them, and a linear one, for images 4 × 9 × 9."""
    return nn.Sequential(
        nn.Conv2d(4, channels, 3, padding=1, bias=bias), nn.ReLU(inplace), *middle,
        nn.Conv2d(channels, 12, 3, padding=1, stride=2, bias=bias), nn.ReLU(inplace), nn.AdaptiveAvgPool2d(2),
        nn.Flatten(), nn.Linear(48, 24, bias=bias), nn.ReLU(inplace), nn.Linear(24, 5, bias=bias),
    )  # fmt: skip


def close(mine: Tensor, its: Tensor, name: str = "") -> None:
    assert mine.shape == its.shape, name
    assert mine.dtype == its.dtype, name
    if its.numel():
        difference, largest = float((mine - its).abs().max()), float(its.abs().max())
        assert difference <= CLOSE * largest, f"{name}: {difference:g} of {largest:g}"


def estimated(module: nn.Module, x: Tensor, **settings: Any) -> swatcost.Estimate:
    given = {"weights": 0.8, "acts": 0.7, "period": 1, "first_layer": "sparse"} | settings
    like = torch.ones(2, *x.shape[1:], dtype=x.dtype)  # as a batch of no samples is not traced
    return swatcost.estimate(swatcost.trace(copy.deepcopy(module), like), **given)


def converted(module: nn.Module, x: Tensor, kernels: Any, **settings: Any) -> reference.Converted:
    return reference.convert(module, estimated(module, x, **settings), kernels=kernels)


def compare(
    module: nn.Module, given: Tensor, options: dict[str, Any] | None = None, needs_grad: bool = True,
    context: Callable[[], Any] = torch.enable_grad, steps: int = 1, **settings: Any,
) -> None:  # fmt: skip
    """Outputs, gradients of input and parameters, and buffers are the same on sparse kernels as on masked tensors."""
    estimate, found = estimated(module, given, **settings), []
    for kernels in ("dense", "sparse"):
        own, x = copy.deepcopy(module), given.clone().requires_grad_(needs_grad)
        with reference.convert(own, estimate, kernels=kernels, **options or {}):
            for _ in range(steps):
                own.zero_grad()
                x.grad = None
                torch.manual_seed(5)  # of dropout
                with context():
                    output = own(x)
                if output.requires_grad:
                    torch.manual_seed(7)
                    output.backward(torch.randn(output.shape).to(output.dtype))
        found.append((output.detach(), x.grad, dict(own.named_parameters()), dict(own.named_buffers())))
    one, other = found
    close(other[0], one[0], "output")
    assert (other[1] is None) == (one[1] is None)
    if one[1] is not None:
        close(other[1], one[1], "input")
    for name, its in one[2].items():
        assert (other[2][name].grad is None) == (its.grad is None), name
        if its.grad is not None:
            close(other[2][name].grad, its.grad, name)
    for name, its in one[3].items():
        close(other[3][name].float(), its.float(), name)


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The products that sparse kernels computed, in order."""
    from swatcost.reference.sparse_form import SparseForm

    names: list[str] = []

    def noted(name: str, product: Any) -> Any:
        def call(*arguments: Any) -> Any:
            names.append(name)
            return product(*arguments)

        return call

    for name in ("forward", "grad_input", "grad_weight"):
        monkeypatch.setattr(SparseForm, name, noted(name, getattr(SparseForm, name)))
    return names


METHODS = [
    ("swat", {}),
    ("saw", {}),
    ("swat-structured", {}),
    ("meprop", {"weights": None, "acts": None, "grads": 0.6}),
]
"""Each method, and its sparsities."""

ON_KERNELS = {
    "swat": {"forward", "grad_input", "grad_weight"},
    "swat-structured": {"forward", "grad_input", "grad_weight"},
    "saw": {"grad_input", "grad_weight"},
    "meprop": set(),
}
"""The products that read weights or activations made sparse (Algorithm 1, and the methods' definitions)."""


@pytest.mark.parametrize("over", [each for each in (None, *OVER) if each != "kernel"])
@pytest.mark.parametrize(("method", "sparsities"), METHODS, ids=[name for name, _ in METHODS])
@pytest.mark.parametrize("samples", [16, 21])
def test_steps_of_every_method_and_span(
    method: str, sparsities: dict[str, Any], over: Any, samples: int, products: list[str]
) -> None:
    torch.manual_seed(0)
    module = convolutions(nn.BatchNorm2d(8))
    compare(module, torch.randn(samples, 4, 9, 9), options={"over": over}, steps=2, method=method, **sparsities)
    assert set(products) == ON_KERNELS[method]


NORMS: dict[str, Callable[[], nn.Module]] = {
    "norm": lambda: nn.BatchNorm2d(8),
    "norm of a given momentum": lambda: nn.BatchNorm2d(8, momentum=0.3, eps=0.1),
    "cumulative moments": lambda: nn.BatchNorm2d(8, momentum=None),
    "no running moments": lambda: nn.BatchNorm2d(8, track_running_stats=False),
    "no scale": lambda: nn.BatchNorm2d(8, affine=False),
    "neither": lambda: nn.BatchNorm2d(8, affine=False, track_running_stats=False),
    "frozen moments": lambda: nn.BatchNorm2d(8).eval(),
    "frozen scale": lambda: nn.BatchNorm2d(8).requires_grad_(False),
    "frozen bias": lambda: frozen(nn.BatchNorm2d(8), "bias"),
    "in-place ReLU after the norm": lambda: nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(inplace=True)),
    "other norms": lambda: nn.Sequential(nn.GroupNorm(2, 8), nn.ReLU(), nn.LayerNorm((8, 9, 9))),
    "max": lambda: nn.MaxPool2d(2),
    "overlapping max": lambda: nn.MaxPool2d(3, stride=2, padding=1),
    "dilated max": lambda: nn.MaxPool2d(2, stride=1, dilation=2),
    "max, rounded up": lambda: nn.MaxPool2d((2, 4), ceil_mode=True),
    "max of ties": lambda: nn.Sequential(nn.Hardtanh(0, 0.01), nn.MaxPool2d(2)),
    "max with indices": lambda: Applied(lambda self, x: self.pool(x)[0] + 0.1 * self.pool(x)[1].remainder(7),
                                        {"pool": nn.MaxPool2d(2, return_indices=True)}),
    "unpooled": lambda: Applied(lambda self, x: self.back(*self.pool(x)),
                                {"pool": nn.MaxPool2d(3, return_indices=True), "back": nn.MaxUnpool2d(3)}),
    "mean": lambda: nn.AvgPool2d(2),
    "mean, rounded up": lambda: nn.AvgPool2d(2, ceil_mode=True),
    "mean with padding": lambda: nn.AvgPool2d(3, stride=2, padding=1),
    "mean without padding": lambda: nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False),
    "mean by another number": lambda: nn.AvgPool2d(2, divisor_override=3),
    "adaptive mean": lambda: nn.AdaptiveAvgPool2d((3, 5)),
    "adaptive mean of one dimension": lambda: nn.AdaptiveAvgPool2d((None, 4)),
    "adaptive mean, one number": lambda: nn.AdaptiveAvgPool2d(4),
    "adaptive mean, larger": lambda: nn.AdaptiveAvgPool2d(11),
    "adaptive max": lambda: nn.AdaptiveMaxPool2d(4),
    "dropout": lambda: nn.Dropout(0.3),
    "in-place dropout": lambda: nn.Sequential(nn.Dropout(0.3), nn.Conv2d(8, 8, 3), nn.Dropout(0.5, inplace=True)),
    "dropout of channels": lambda: nn.Dropout2d(0.3),
    "upsampled": lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
    "not batched": lambda: Applied(lambda self, x: torch.stack([self.pool(each) for each in x]),
                                   {"pool": nn.MaxPool2d(2)}),
}  # fmt: skip


def frozen(module: nn.Module, name: str) -> nn.Module:
    module.get_parameter(name).requires_grad_(False)
    return module


@pytest.mark.parametrize("build", NORMS.values(), ids=NORMS)
@pytest.mark.parametrize(("samples", "evaluating"), [(16, False), (16, True), (5, False)])
def test_layers_between(build: Callable[[], nn.Module], evaluating: bool, samples: int, products: list[str]) -> None:
    torch.manual_seed(0)
    middle = build()
    modes = [part.training for part in middle.modules()]
    module = convolutions(middle).train(not evaluating)
    for part, mode in zip(middle.modules(), modes, strict=True):
        part.training = part.training and mode
    compare(module, torch.randn(samples, 4, 9, 9), steps=1 if evaluating else 3, period=2)
    assert products


def twice(conv: nn.Module) -> nn.Module:
    return Applied(lambda self, x: self.conv(self.conv(x).relu()), {"conv": conv})


def recomputed(body: nn.Module, reentrant: bool) -> nn.Module:
    return Applied(lambda self, x: checkpoint(self.body, x, use_reentrant=reentrant), {"body": body})


NETWORKS: dict[str, Callable[[], tuple[nn.Module, tuple[int, ...]]]] = {
    "no bias": lambda: (convolutions(bias=False), (4, 9, 9)),
    "in-place ReLU": lambda: (convolutions(nn.BatchNorm2d(8), inplace=True), (4, 9, 9)),
    "a frozen weight": lambda: (frozen(convolutions(), "2.weight"), (4, 9, 9)),
    "a frozen bias": lambda: (frozen(convolutions(), "2.bias"), (4, 9, 9)),
    "a frozen first layer": lambda: (frozen(frozen(convolutions(), "0.weight"), "0.bias"), (4, 9, 9)),
    "a weight used twice": lambda: (twice(nn.Conv2d(4, 4, 3, padding=1)), (4, 9, 9)),
    "a linear weight used twice": lambda: (twice(nn.Linear(7, 7)), (7,)),
    "checkpointed": lambda: (recomputed(convolutions(nn.BatchNorm2d(8)), False), (4, 9, 9)),
    "checkpointed, reentrant": lambda: (recomputed(convolutions(), True), (4, 9, 9)),
    "checkpointed, a weight used twice": lambda: (recomputed(twice(nn.Conv2d(4, 4, 3, padding=1)), False), (4, 9, 9)),
    "sequences": lambda: (nn.Sequential(nn.Conv1d(4, 8, 3, padding=1, bias=False), nn.BatchNorm1d(8), nn.ReLU(True),
                                        nn.Conv1d(8, 6, 3, stride=2), nn.MaxPool1d(2)), (4, 20)),
    "volumes": lambda: (nn.Conv3d(4, 8, 3), (4, 5, 5, 5)),
    "transposed": lambda: (nn.Sequential(nn.Conv2d(4, 8, 3), nn.ConvTranspose2d(8, 4, 3, stride=2)), (4, 9, 9)),
    "depthwise": lambda: (convolutions(nn.Conv2d(8, 8, 3, groups=8)), (4, 9, 9)),
    "padded circularly": lambda: (convolutions(nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular")), (4, 9, 9)),
    "padded to the same size": lambda: (convolutions(nn.Conv2d(8, 8, (4, 2), padding="same")), (4, 9, 9)),
    "attention": lambda: (nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True), (5, 8)),
    "attention, batch second": lambda: (nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0), (5, 8)),
    "residual": lambda: (Applied(lambda self, x: (x + self.a(x)).relu_() + self.b(x).mean((1, 2, 3), True),
                                 {"a": nn.Conv2d(4, 4, 3, padding=1), "b": nn.Conv2d(4, 2, 1)}), (4, 9, 9)),
    "changed in place": lambda: (Applied(lambda self, x: self.b(self.a(x).mul_(2).add_(1).clamp_(-1, 1)),
                                         {"a": nn.Conv2d(4, 4, 3), "b": nn.Conv2d(4, 4, 3)}), (4, 9, 9)),
    "linear, changed in place": lambda: (Applied(lambda self, x: self.b(self.a(x).relu_()),
                                                 {"a": nn.Linear(4, 40), "b": nn.Linear(40, 3)}), (4,)),
    "viewed": lambda: (Applied(lambda self, x: self.b(self.a(x).flatten(2).transpose(1, 2)),
                               {"a": nn.Conv2d(4, 6, 3), "b": nn.Linear(6, 3)}), (4, 9, 9)),
    "a part of the output": lambda: (Applied(lambda self, x: self.b(self.a(x)[:, 1:4, ::2])[:3],
                                             {"a": nn.Conv2d(4, 6, 3), "b": nn.Conv2d(3, 3, 2)}), (4, 9, 9)),
    "one number": lambda: (Applied(lambda self, x: self.a(x).sum(), {"a": nn.Conv2d(4, 6, 3)}), (4, 9, 9)),
    "wrapped": lambda: (nn.DataParallel(convolutions()), (4, 9, 9)),
}  # fmt: skip


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize(("samples", "method"), [(16, "swat"), (5, "swat"), (16, "saw")])
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_networks(
    build: Callable[[], tuple[nn.Module, tuple[int, ...]]], samples: int, method: str, products: list[str]
) -> None:
    torch.manual_seed(0)
    module, shape = build()
    compare(module, torch.randn(samples, *shape), method=method, steps=2)
    assert bool(products) == (not isinstance(module, nn.Conv3d))


@pytest.mark.parametrize("change", ["no gradient of the input", "double precision", "autocast", "no_grad", "inference",
                                    "samples last", "one sample", "no samples", "double precision, samples last",
                                    "evaluation"])  # fmt: skip
def test_inputs_and_contexts(change: str, products: list[str]) -> None:
    torch.manual_seed(0)
    # no samples have no mean: torch's own normalisation refuses them
    module, x = convolutions(*([] if change == "no samples" else [nn.BatchNorm2d(8)])), torch.randn(16, 4, 9, 9)
    given: dict[str, Any] = {}
    if change == "no gradient of the input":
        given["needs_grad"] = False
    if change.startswith("double precision"):
        module, x = module.double(), x.double()
    if change.endswith("samples last"):
        x = x.permute(2, 3, 1, 0).contiguous().permute(3, 2, 0, 1)
    if change == "autocast":
        given["context"] = lambda: torch.autocast("cpu", dtype=torch.bfloat16)
    if change == "no_grad":
        given["context"] = torch.no_grad
    if change == "inference":
        given |= {"context": torch.inference_mode, "needs_grad": False}
    if change in ("no_grad", "inference", "evaluation"):
        module.eval()
    x = x[: {"one sample": 1, "no samples": 0}.get(change, 16)]
    compare(module, x, **given)
    assert bool(products) == (change not in ("double precision", "double precision, samples last", "autocast"))


@pytest.mark.parametrize("kernels", ["dense", "sparse"])
def test_second_derivatives_are_refused(kernels: Any) -> None:
    """As those of the masked step: a threshold has none."""
    module, x = convolutions(), torch.randn(16, 4, 9, 9, requires_grad=True)
    with converted(module, x.detach(), kernels):
        (grad,) = torch.autograd.grad(module(x).square().sum(), x, create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            grad.sum().backward()


@pytest.mark.parametrize("kernels", ["dense", "sparse"])
def test_operands_of_the_wrong_size_raise_torch_s_error(kernels: Any) -> None:
    module = convolutions()
    with converted(module, torch.randn(2, 4, 9, 9), kernels), pytest.raises(RuntimeError, match="channels"):
        module(torch.randn(2, 5, 9, 9))


def test_a_conversion_that_fails_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = convolutions(), torch.randn(16, 4, 9, 9)
    found = estimated(module, x)
    with monkeypatch.context() as patched:
        patched.setattr("swatcost.reference.conversion._on_kernels", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            reference.convert(module, found)
    assert [type(part) for part in module.modules()] == [type(part) for part in convolutions().modules()]


@pytest.mark.parametrize("kernels", ["dense", "sparse"])
def test_one_sample_without_a_batch(kernels: Any) -> None:
    module, x = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3)), torch.randn(4)
    with converted(module, torch.randn(2, 4), kernels):
        module(x).sum().backward()
    assert module[1].bias.grad is not None
    assert module[1].bias.grad.tolist() == [1, 1, 1]


def test_undoing_restores_every_class_and_copies_go_on(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, x = convolutions(nn.BatchNorm2d(8), nn.MaxPool2d(2), nn.AvgPool2d(2, 1)), torch.randn(16, 4, 9, 9)
    keys, classes = list(module.state_dict()), [type(part) for part in module.modules()]
    done = converted(module, x, "sparse", period=2)
    swapped = [type(part) for part in module.modules()]
    # all but the whole, three ReLUs and Flatten: 2 convolutions, 2 linear layers, norm, 2 poolings, adaptive pooling
    assert sum(one is not other for one, other in zip(classes, swapped, strict=True)) == 8
    assert list(module.state_dict()) == keys
    module(x).sum().backward()
    torch.save(module, tmp_path / "whole.pt")
    copies = [copy.deepcopy(module), torch.load(tmp_path / "whole.pt", weights_only=False)]
    outputs = []
    for other in (module, *copies):
        other.zero_grad()
        output = other(x)
        output.sum().backward()
        outputs.append((output.detach(), other[0].weight.grad))
    for output, grad in outputs[1:]:
        assert torch.equal(output, outputs[0][0])
        assert torch.equal(grad, outputs[0][1])
    with pytest.raises(SwatcostError, match="converted already"):
        reference.convert(module, done.estimate, kernels="sparse")
    done.undo()
    done.undo()
    assert [type(part) for part in module.modules()] == classes
    assert not any(hasattr(part, "swat") for part in module.modules())


def test_steps_that_are_counted_run_on_masked_tensors(products: list[str]) -> None:
    module, x = convolutions(), torch.randn(16, 4, 9, 9)
    with converted(module, x, "sparse") as done:
        with done.counting() as counts:
            module(x).sum().backward()
        assert not products
        assert all(each.macs["forward"] > 0 for calls in counts.values() for each in calls)
        module(x).sum().backward()
        assert products


def test_kernels_that_do_not_exist_are_named() -> None:
    with pytest.raises(SwatcostError, match="kernels 'x': choose from dense, sparse, auto"):
        converted(nn.Linear(4, 4), torch.randn(2, 4), "x")
