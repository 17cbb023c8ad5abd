"""Sparse kernels against torch's products of masked operands.

Most operands are small integers, whose sums are exact in float32 in any order: results must then be equal, not close.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

numba: Any = pytest.importorskip("numba")

from swatcost.kernels import memory  # noqa: E402
from swatcost.kernels.memory import in_lines, in_whole_lines  # noqa: E402
from swatcost.reference.batch_last import batch_first, batch_last, from_batch_last, is_batch_last  # noqa: E402
from swatcost.reference.kernel_products import KernelProduct, Reads, SparseKernels  # noqa: E402
from swatcost.reference.layer_kernels import ConvForm, Form, LinearForm  # noqa: E402
from swatcost.reference.products import Kept, Threshold  # noqa: E402
from swatcost.reference.sparse_form import SparseForm  # noqa: E402

LARGEST = 3
"""Operands are integers from −3 to 3: a threshold of 3 keeps nothing, and 1 and 2 are exactly some magnitudes."""

pytestmark = pytest.mark.usefixtures("one_thread")

ORDERS = ("samples first", "batch last", "samples last", "channels last", "every other", "expanded")


@contextmanager
def fresh_memory_is_nan() -> Iterator[None]:
    """So that a result that nobody wrote is seen."""

    def empty(count: int, dtype: Any) -> Any:
        return np.full(count, np.nan, dtype)

    with patch.object(memory, "np", SimpleNamespace(empty=empty, float32=np.float32)):
        yield


@dataclass(frozen=True)
class Case:
    """A convolution over images, and which elements of its operands count: those of magnitudes above the thresholds."""

    samples: int
    groups: int
    channels: int  # of a group, as are the filters
    filters: int
    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    thresholds: tuple[float | None, float | None] = (1, 1)
    orders: tuple[str, str] = ("samples first", "samples first")
    bias: bool = True
    whole_kernels: bool = False  # kept or dropped, each
    seed: int = 0
    threads: int = 2

    @property
    def form(self) -> ConvForm:
        return ConvForm(self.stride, self.padding, self.dilation, self.groups)


def integers(*shape: int, generator: torch.Generator) -> Tensor:
    return torch.randint(-LARGEST, LARGEST + 1, shape, generator=generator).float()


def in_order(x: Tensor, order: str) -> Tensor:
    """The same numbers, lying otherwise in memory; "expanded" repeats the first of the last dimension."""
    if order == "batch last" and x.dim() == 4:  # as kernels read it
        return x.permute(2, 3, 1, 0).contiguous().permute(3, 2, 0, 1)
    if order == "samples last":
        return x.permute(*range(1, x.dim()), 0).contiguous().permute(-1, *range(x.dim() - 1))
    if order == "channels last" and x.dim() == 4:
        return x.contiguous(memory_format=torch.channels_last)
    if order == "every other":
        return x.repeat_interleave(2, -1)[..., ::2]
    if order == "expanded":
        return x[..., :1].expand(x.shape)
    return x


def masked(x: Tensor, threshold: float | None) -> Tensor:
    return x if threshold is None else x * (x.abs() > threshold)


def threshold_of(value: float | None) -> Threshold | None:
    return None if value is None else Threshold(value)


def by_torch(
    form: Form, x: Tensor, weight: Tensor, bias: Tensor | None, grad: Tensor, thresholds: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Output, grad_input and grad_weight of masked operands in double precision, by torch's functions and autograd."""

    def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if isinstance(form, LinearForm):
            return functional.linear(x, weight, bias)
        assert isinstance(form, ConvForm)
        convolution: Any = functional.conv2d if x.dim() == 4 else functional.conv1d
        return convolution(x, weight, bias, form.stride, form.padding, form.dilation, form.groups)  # type: ignore[no-any-return]

    x, weight, grad = x.double(), weight.double(), grad.double()
    sparse_weight, sparse_x = masked(weight, thresholds[0]), masked(x, thresholds[1])
    read, whole = x.clone().requires_grad_(), weight.clone().requires_grad_()
    output = product(read, sparse_weight, None if bias is None else bias.double())
    (grad_input,) = torch.autograd.grad(output, read, grad)
    (grad_weight,) = torch.autograd.grad(product(sparse_x, whole, None), whole, grad)
    return output.detach(), grad_input, grad_weight


def check(case: Case) -> None:
    """The three products of a case are torch's, exactly."""
    numba.set_num_threads(min(case.threads, numba.config.NUMBA_NUM_THREADS))
    generator = torch.Generator().manual_seed(case.seed)
    channels, filters = case.groups * case.channels, case.groups * case.filters
    x = in_order(integers(case.samples, channels, *case.size, generator=generator), case.orders[0])
    weight = integers(filters, case.channels, *case.kernel, generator=generator)
    if case.whole_kernels:
        threshold = case.thresholds[0] or 0
        kept = torch.rand(filters, case.channels, 1, 1, generator=generator) < 0.5
        weight = (threshold + 1 + weight.abs()) * weight.sign().where(weight != 0, torch.ones(())) * kept
    bias = integers(filters, generator=generator) if case.bias else None
    sparse = SparseForm.of(case.form, x, weight)
    shape = case.samples, filters, sparse.rows.output, sparse.columns.output
    grad = in_order(integers(*shape, generator=generator), case.orders[1])
    expected = by_torch(case.form, x, weight, bias, grad, case.thresholds)
    own = Threshold(case.thresholds[0] or 0, True) if case.whole_kernels else threshold_of(case.thresholds[0])
    weights = sparse.packed(Kept(weight, own))
    before = x.clone(), weight.clone(), grad.clone()
    with fresh_memory_is_nan():
        output = sparse.forward(x, weights, bias)
        grad_input = sparse.grad_input(grad, weights)
        grad_weight = sparse.grad_weight(grad, Kept(x, threshold_of(case.thresholds[1])))
    for name, mine, its in zip(("forward", "grad_input", "grad_weight"), (output, grad_input, grad_weight), expected,
                               strict=True):  # fmt: skip
        assert mine.shape == its.shape, name
        assert torch.equal(mine.double(), its), name
    assert all(torch.equal(*pair) for pair in zip((x, weight, grad), before, strict=True))


@st.composite
def cases(draw: st.DrawFn, most_samples: int = 80, most_channels: int = 20, most_filters: int = 70) -> Case:
    """Any convolution that has an output; more channels and filters only where a group's are few."""
    groups = draw(st.sampled_from((1, 1, 1, 2, 3)))
    pairs = {
        name: (draw(span), draw(span))
        for name, span in (
            ("kernel", st.sampled_from((1, 2, 3, 3, 4))),
            ("stride", st.sampled_from((1, 1, 1, 2, 3, 4, 5))),
            ("padding", st.integers(0, 5)),
            ("dilation", st.integers(1, 3)),
        )
    }
    least = [
        max(1, dilation * (taps - 1) + 1 - 2 * padding)
        for taps, padding, dilation in zip(pairs["kernel"], pairs["padding"], pairs["dilation"], strict=True)
    ]
    thresholds = st.sampled_from((None, 0, 1, 1, 2, 2, LARGEST))
    return Case(
        samples=draw(st.integers(1, most_samples)),
        groups=groups,
        channels=draw(st.integers(1, most_channels // groups)),
        filters=draw(st.integers(1, most_filters // groups)),
        size=(draw(st.integers(least[0], least[0] + 6)), draw(st.integers(least[1], least[1] + 10))),
        thresholds=(draw(thresholds), draw(thresholds)),
        orders=(draw(st.sampled_from(ORDERS)), draw(st.sampled_from(ORDERS))),
        bias=draw(st.booleans()),
        whole_kernels=draw(st.booleans()),
        seed=draw(st.integers(0, 999)),
        threads=draw(st.sampled_from((1, 1, 2))),
        **pairs,
    )


@given(cases())
@settings(max_examples=300)
def test_products_of_any_convolution_are_torch_s(case: Case) -> None:
    check(case)


SOME: dict[str, Any] = {"samples": 20, "groups": 1, "channels": 5, "filters": 18, "size": (7, 9), "kernel": (3, 3),
                        "padding": (1, 1)}  # fmt: skip
EDGES: dict[str, dict[str, Any]] = {
    "nothing kept": {"thresholds": (LARGEST, LARGEST)},
    "no weight kept": {"thresholds": (LARGEST, 0)},
    "no activation kept": {"thresholds": (0, LARGEST)},
    "everything kept": {"thresholds": (None, None)},
    "all but zeros": {"thresholds": (0, 0)},
    "one channel": {"channels": 1},
    "one filter": {"filters": 1},
    "one channel and filter": {"channels": 1, "filters": 1},
    "depthwise": {"channels": 1, "filters": 1, "groups": 17},
    "one sample": {"samples": 1},
    "no samples": {"samples": 0},
    "a vector of samples": {"samples": 16},
    "a vector of samples, and one more": {"samples": 17},
    "vectors of 64, 32 and 16 samples": {"samples": 112, "orders": ("batch last", "batch last")},
    "samples beyond a block of pixels": {"samples": 600, "size": (3, 2)},
    "more channels than are picked out at a time": {"channels": 35},
    "filters of one block": {"filters": 64},
    "filters of several blocks": {"filters": 300, "size": (3, 3)},
    "filters of a narrow block": {"filters": 33},
    "one pixel": {"size": (1, 1)},
    "one pixel, no padding": {"size": (3, 3), "padding": (0, 0)},
    "a row": {"size": (1, 30)},
    "a column": {"size": (30, 1)},
    "strides larger than the kernel": {"kernel": (2, 2), "stride": (5, 4)},
    "strides larger than the image": {"stride": (20, 30)},
    "padding larger than the kernel": {"kernel": (2, 2), "padding": (5, 7)},
    "padding larger than the image": {"size": (2, 3), "padding": (6, 5)},
    "a kernel larger than the image": {"size": (2, 2), "kernel": (5, 6), "padding": (2, 2)},
    "taps that meet nothing but padding": {"size": (2, 2), "kernel": (3, 3), "dilation": (4, 5), "padding": (5, 5)},
    "pointwise": {"kernel": (1, 1), "padding": (0, 0)},
    "pointwise, strided": {"kernel": (1, 1), "padding": (0, 0), "stride": (2, 2)},
    "strided": {"stride": (2, 2)},
    "one pixel that no output reads": {"size": (1, 1), "kernel": (1, 1), "stride": (3, 3)},
    "stride divides dilation": {"stride": (2, 3), "dilation": (4, 3), "padding": (4, 3)},
    "groups of unequal channels and filters": {"groups": 3, "channels": 2, "filters": 5},
}


@pytest.mark.parametrize("changes", EDGES.values(), ids=EDGES)
def test_products_at_the_edges(changes: dict[str, Any]) -> None:
    check(Case(**SOME | changes))


@pytest.mark.parametrize(("of_input", "of_gradient"), [*itertools.product(ORDERS, ORDERS)])
@pytest.mark.parametrize("samples", [16, 21])
def test_operands_lie_in_any_order(of_input: str, of_gradient: str, samples: int) -> None:
    check(Case(**SOME | {"orders": (of_input, of_gradient), "samples": samples}))


def through_autograd(
    form: Form, x: Tensor, weight: Tensor, bias: Tensor | None, grad: Tensor, thresholds: tuple[Any, Any]
) -> tuple[Tensor, Tensor, Tensor]:
    """Output, grad_input and grad_weight of the autograd function, all three on sparse kernels."""
    leaf, whole = x.detach().requires_grad_(), weight.clone().requires_grad_()
    reads = Reads(dict.fromkeys(("forward", "grad_input", "grad_weight"), "sparse"), *map(threshold_of, thresholds))
    assert SparseKernels().suit(leaf, whole, form)
    output = KernelProduct.apply(leaf, whole, bias, form, whole.detach(), leaf.detach(), reads)
    return output.detach(), *torch.autograd.grad(output, (leaf, whole), grad)


@pytest.mark.parametrize(
    "leading", [(), (1,), (16,), (23,), (0,), (3, 7), (4, 0), (16, 1), (2, 3, 5), (112,)], ids=lambda each: f"{each}"
)
@pytest.mark.parametrize(("features", "filters"), [(10, 40), (1, 1), (64, 64), (1, 200), (600, 40)])
@pytest.mark.parametrize("order", ["samples first", "samples last", "every other"])
def test_linear_layers_with_any_leading_dimensions(
    leading: tuple[int, ...], features: int, filters: int, order: str
) -> None:
    generator = torch.Generator().manual_seed(0)
    x = integers(*leading, features, generator=generator)
    x = in_order(x, order) if leading else x
    weight, bias = integers(filters, features, generator=generator), integers(filters, generator=generator)
    grad = integers(*leading, filters, generator=generator)
    given = LinearForm(), x, weight, bias, grad, (1, 2)
    for mine, its in zip(through_autograd(*given), by_torch(*given), strict=True):
        assert mine.shape == its.shape
        assert torch.equal(mine.double(), its)


@pytest.mark.parametrize("shape", [(3,), (1, 16), (5, 7, 32)])
def test_memory_begins_with_a_line_of_the_cache(shape: tuple[int, ...]) -> None:
    kept = [in_lines(*shape) for _ in range(20)]
    assert all(each.shape == shape and each.ctypes.data % 64 == 0 for each in kept)
    assert in_whole_lines(kept[0], 16, 48)
    assert not in_whole_lines(kept[0], 16, 24)
    assert not in_whole_lines(kept[0].reshape(-1)[1:], 16)


@pytest.mark.parametrize("samples", [0, 1, 16, 19])
@pytest.mark.parametrize(
    "geometry",
    [((1,), (0,), (1,), 1), ((2,), (1,), (1,), 2), ((1,), (4,), (3,), 1), ((5,), (2,), (2,), 2)],
    ids=lambda each: "stride {}, padding {}, dilation {}, groups {}".format(*each),
)
@pytest.mark.parametrize("order", ["samples first", "samples last"])
def test_convolutions_over_sequences(samples: int, geometry: tuple[Any, ...], order: str) -> None:
    generator = torch.Generator().manual_seed(0)
    form = ConvForm(*geometry)
    x = in_order(integers(samples, 6, 11, generator=generator), order)
    weight, bias = integers(8, 6 // form.groups, 3, generator=generator), integers(8, generator=generator)
    shape = functional.conv1d(x, weight, None, *geometry).shape
    given = form, x, weight, bias, integers(*shape, generator=generator), (1, 1)
    for mine, its in zip(through_autograd(*given), by_torch(*given), strict=True):
        assert torch.equal(mine.double(), its)


def test_real_numbers_are_rounded_as_sums_of_float32_are() -> None:
    """A sum of n products in any order is off by at most n · u · Σ|a b| / (1 − n u), u = 2⁻²⁴ (Higham, Accuracy and
    Stability of Numerical Algorithms, 2002, Eq. 3.3).
    """
    torch.manual_seed(0)
    x, weight, grad = torch.randn(48, 24, 9, 9), torch.randn(40, 24, 3, 3), torch.randn(48, 40, 9, 9)
    form, thresholds = ConvForm((1, 1), (1, 1), (1, 1)), (0.8, 0.6)
    sparse = SparseForm.of(form, x, weight)
    weights = sparse.packed(Kept(weight, Threshold(thresholds[0])))
    found = (
        sparse.forward(x, weights, None),
        sparse.grad_input(grad, weights),
        sparse.grad_weight(grad, Kept(x, Threshold(thresholds[1]))),
    )
    exact = by_torch(form, x, weight, None, grad, thresholds)
    sizes = by_torch(form, x.abs(), weight.abs(), None, grad.abs(), thresholds)
    for mine, its, size, addends in zip(found, exact, sizes, (24 * 9, 40 * 9, 48 * 81), strict=True):
        assert ((mine.double() - its).abs() <= addends * 2**-24 / (1 - addends * 2**-24) * size).all()


def test_a_threshold_is_compared_as_torch_compares_it() -> None:
    """Magnitudes equal to a threshold count as zeros; the next float32 counts; infinities count, NaN does not."""
    threshold = float(torch.tensor(0.1))
    above = float(torch.nextafter(torch.tensor(0.1), torch.tensor(1.0)))
    values = [0.0, -0.0, float("inf"), float("nan"), 1e-45, -1.0, threshold, -threshold, above, -above]
    weight = torch.tensor(values).repeat(2)[None]  # a vector of 16, and 4 more: two loops
    sparse = SparseForm.of(LinearForm(), torch.zeros(1, 20), weight)
    weights = sparse.packed(Kept(weight, Threshold(threshold)))
    expected = [place for place in range(20) if weight[0, place].abs() > threshold]
    assert expected == [2, 5, 8, 9, 12, 15, 18, 19]
    assert weights.count == len(expected)
    assert weights.places[weights.begins[0] : weights.ends[0]].tolist() == expected


@pytest.mark.parametrize("samples", [1, 15, 16, 48, 50])
@pytest.mark.parametrize("shape", [(3, 5, 7), (17, 1, 1), (1, 18, 33)], ids=lambda each: f"{each}")
def test_copies_to_and_from_batch_last(samples: int, shape: tuple[int, int, int]) -> None:
    x = torch.randn(samples, *shape)
    array = batch_last(x)
    assert array.is_contiguous()
    assert torch.equal(array[..., :samples], x.permute(2, 3, 1, 0))
    assert not array[..., samples:].any()  # padding is zeros: grad_weight reads it
    back = from_batch_last(array, samples)
    assert torch.equal(back, x)
    assert torch.equal(batch_first(back), x)
    assert batch_first(back).is_contiguous()
    if samples % 16 == 0:
        assert back.data_ptr() == array.data_ptr()
        assert batch_last(back).data_ptr() == array.data_ptr()
        assert is_batch_last(back) or back.is_contiguous()


REFUSED: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "too few features": (nn.Linear(20, 4), (3, 10)),
    "too many features": (nn.Linear(20, 4), (3, 30)),
    "too few channels": (nn.Conv2d(8, 4, 3), (2, 4, 9, 9)),
    "too many channels": (nn.Conv2d(8, 4, 3, groups=2), (2, 16, 9, 9)),
    "an image smaller than the kernel": (nn.Conv2d(8, 4, 3), (2, 8, 2, 9)),
    "an image as a sequence": (nn.Conv1d(8, 4, 3), (2, 8, 9, 9)),
    "a sequence of the wrong channels": (nn.Conv1d(8, 4, 3), (2, 7, 9)),
}


@pytest.mark.parametrize(("module", "shape"), REFUSED.values(), ids=REFUSED)
def test_operands_that_do_not_fit_are_left_to_torch_to_refuse(module: Any, shape: tuple[int, ...]) -> None:
    """Kernels would read beyond them."""
    x = torch.randn(shape)
    with pytest.raises(RuntimeError):
        module(x)
    form = LinearForm() if isinstance(module, nn.Linear) else ConvForm(
        module.stride, module.padding, module.dilation, module.groups
    )  # fmt: skip
    assert not SparseKernels().suit(x, module.weight, form)


@pytest.mark.parametrize("change", ["double", "half", "bfloat16", "transposed", "volumes"])
def test_what_kernels_cannot_compute_is_left_to_torch(change: str) -> None:
    x, weight, form = torch.randn(2, 4, 8, 8), torch.randn(6, 4, 3, 3), ConvForm((1, 1), (0, 0), (1, 1))
    assert SparseKernels().suit(x, weight, form)
    assert not SparseKernels().suit(x.to("meta"), weight.to("meta"), form)
    if change in ("double", "half", "bfloat16"):
        x, weight = getattr(x, change)(), getattr(weight, change)()
    if change == "transposed":
        form = ConvForm((1, 1), (0, 0), (1, 1), transposed=True)
    if change == "volumes":
        x, weight, form = x[:, :, None], weight[:, :, None], ConvForm((1,) * 3, (0,) * 3, (1,) * 3)
    assert not SparseKernels().suit(x, weight, form)


EVERY_PRODUCT = (
    Case(20, 1, 2, 3, (4, 5), (3, 3), padding=(1, 1), whole_kernels=True),
    Case(5, 1, 520, 18, (1, 1), (1, 1)),
    Case(40, 2, 2, 3, (5, 4), (2, 3), stride=(2, 1)),
    Case(16, 2, 4, 16, (3, 3), (2, 2)),
    Case(16, 1, 528, 16, (1, 1), (1, 1)),
)
"""Whole kernels, a linear layer of two tiles, weights one by one, and gradients that are whole lines."""

SMALL = """
from hypothesis import given, seed, settings
from tests.test_sparse_kernels import EVERY_PRODUCT, Case, check, cases

@seed(1)
@settings(max_examples=EXAMPLES, database=None, deadline=None)
@given(cases(most_samples=SAMPLES, most_channels=5, most_filters=FILTERS))
def run(case):
    check(case)

run()
for case in EVERY_PRODUCT:
    check(case)
from numba.core.config import DISABLE_JIT
print("interpreted" if DISABLE_JIT else "compiled")
"""


def in_another_process(examples: int, samples: int, filters: int, **variables: str) -> str:
    """What a process prints that checks random cases under these environment variables."""
    script = SMALL
    for name, value in (("EXAMPLES", examples), ("SAMPLES", samples), ("FILTERS", filters)):
        script = script.replace(name, str(value))
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | variables, capture_output=True, text=True,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_no_kernel_reads_or_writes_outside_its_arrays() -> None:
    """Interpreted kernels raise IndexError where compiled ones would read on."""
    assert in_another_process(12, 20, 18, NUMBA_DISABLE_JIT="1") == "interpreted"


def test_kernels_compute_the_same_with_the_vectors_of_avx2(tmp_path: Path) -> None:
    """LLVM splits vectors of 16 numbers, and compresses them without AVX-512's instruction."""
    haswell = "+avx2,+fma,+f16c,+bmi,+bmi2,+popcnt,+lzcnt,+sse4.2"
    cpu = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": haswell, "NUMBA_CACHE_DIR": str(tmp_path)}
    assert in_another_process(40, 80, 70, **cpu) == "compiled"
