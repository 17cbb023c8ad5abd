"""Products by every name and in every grad mode: the MACs of the batch are those of the arithmetic beside them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.utils.checkpoint import checkpoint

import swatcost
from swatcost.network import Network

from .cases import Applied, weights


def macs(network: Network) -> tuple[float, float]:
    """Forward, and the backward pass."""
    costs = swatcost.estimate(network, convention="exact").costs
    return costs.forward.dense * network.batch_size, (costs.training.dense - costs.forward.dense) * network.batch_size


def alarms(network: Network) -> list[str]:
    return [each.operation for each in network.uncounted if each.products]


class Frozen(nn.Module):
    """An encoder that runs in a grad mode of its own, and a head with one weight that trains."""

    def __init__(self, encode: Callable[..., Any], parts: dict[str, Any], mode: Callable[[], Any]) -> None:
        super().__init__()
        self.encoder, self.head, self.mode = Applied(encode, parts), nn.Linear(1, 1, bias=False), mode

    def forward(self, x: Tensor) -> Any:
        with self.mode():
            y = self.encoder(x)
        return self.head((y[0] if isinstance(y, tuple) else y).clone().reshape(2, -1)[:, :1])


def decorated(mode: Callable[..., Any], *args: Any) -> Callable[..., Any]:
    return mode(*args)(lambda self, x: self.part(x))


LSTM = 2 * 5 * (4 * 4) * (3 + 4)  # 2 sequences of 5 steps, 4 gates of 4 features
ATTENTION = 2 * 5 * (4 * 6 * 6) + 2 * (2 * 5 * 5 * 6)  # q, k, v and the output; the scores and their product with v
COMPOSITES: dict[str, tuple[Callable[..., Any], Callable[[], dict[str, Any]], tuple[int, ...], int]] = {
    "conv1d": (lambda self, x: self.part(x), lambda: {"part": nn.Conv1d(3, 4, 3)}, (2, 3, 9), 2 * 7 * 4 * 9),
    "conv2d": (lambda self, x: self.part(x), lambda: {"part": nn.Conv2d(3, 8, 3, padding=1)}, (2, 3, 8, 8), 27648),
    "conv3d": (lambda self, x: self.part(x), lambda: {"part": nn.Conv3d(3, 4, 3)}, (2, 3, 5, 5, 5), 2 * 27 * 4 * 81),
    "transposed": (lambda self, x: self.part(x), lambda: {"part": nn.ConvTranspose1d(3, 4, 3)}, (2, 3, 9), 2 * 9 * 36),
    "same": (lambda self, x: self.part(x), lambda: {"part": nn.Conv1d(3, 4, 3, padding="same")}, (2, 3, 9), 2 * 9 * 36),
    "linear": (lambda self, x: self.part(x), lambda: {"part": nn.Linear(3, 4)}, (2, 5, 3), 2 * 5 * 12),
    "matmul": (lambda self, x: x @ self.w, lambda: {"w": weights(3, 4)}, (2, 5, 3), 2 * 5 * 12),
    "of activations": (lambda self, x: x @ x.mT, dict, (2, 5, 3), 2 * 5 * 5 * 3),
    "einsum": (
        lambda self, x: torch.einsum("btd,dhk->bthk", x, self.w), lambda: {"w": weights(3, 2, 4)}, (2, 5, 3),
        2 * 5 * 3 * 8,
    ),
    "tensordot": (lambda self, x: torch.tensordot(x, self.w, 1), lambda: {"w": weights(3, 2, 4)}, (2, 5, 3), 240),
    "inner": (lambda self, x: torch.inner(x, self.w), lambda: {"w": weights(4, 3)}, (2, 5, 3), 2 * 5 * 12),
    "multi_dot": (
        lambda self, x: torch.linalg.multi_dot([x, self.v, self.w]), lambda: {"v": weights(3, 4), "w": weights(4, 5)},
        (2, 3), 2 * 12 + 2 * 20,
    ),
    "matrix_power": (lambda self, x: torch.matrix_power(x, 3), dict, (2, 3, 3), 2 * (2 * 27)),
    "bilinear": (lambda self, x: self.part(x, x), lambda: {"part": nn.Bilinear(3, 3, 5)}, (2, 3), 2 * 5 * (9 + 3)),
    "attention": (lambda self, x: F.scaled_dot_product_attention(x, x, x), dict, (2, 2, 5, 3), 2 * (4 * 25 * 3)),
    "with dropout": (lambda self, x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.5), dict, (2, 2, 5, 3), 600),
    "MultiheadAttention": (
        lambda self, x: self.part(x, x, x), lambda: {"part": nn.MultiheadAttention(6, 2, batch_first=True)}, (2, 5, 6),
        ATTENTION,
    ),
    "TransformerEncoderLayer": (
        lambda self, x: self.part(x), lambda: {"part": nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)},
        (2, 5, 6), ATTENTION + 2 * 5 * (2 * 6 * 8),
    ),
    "LSTM": (lambda self, x: self.part(x), lambda: {"part": nn.LSTM(3, 4, batch_first=True)}, (2, 5, 3), LSTM),
    "LSTM without biases": (
        lambda self, x: self.part(x), lambda: {"part": nn.LSTM(3, 4, bias=False, batch_first=True)}, (2, 5, 3), LSTM
    ),
    "GRU": (lambda self, x: self.part(x), lambda: {"part": nn.GRU(3, 4, batch_first=True)}, (2, 5, 3), LSTM * 3 // 4),
    "RNN": (lambda self, x: self.part(x), lambda: {"part": nn.RNN(3, 4, batch_first=True)}, (2, 5, 3), LSTM // 4),
    "LSTMCell": (lambda self, x: self.part(x), lambda: {"part": nn.LSTMCell(3, 4)}, (2, 3), LSTM // 5),
    "decorated": (decorated(torch.inference_mode), lambda: {"part": nn.Linear(3, 4)}, (2, 5, 3), 120),
    "switched off": (decorated(torch.set_grad_enabled, False), lambda: {"part": nn.Linear(3, 4)}, (2, 5, 3), 120),
}  # fmt: skip


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("composite", COMPOSITES)
def test_composites_are_counted_in_every_grad_mode(
    composite: str, mode: Callable[[], AbstractContextManager[None]], device: str
) -> None:
    encode, parts, shape, expected = COMPOSITES[composite]
    network = swatcost.trace(Frozen(encode, parts(), mode).to(device), torch.randn(shape, device=device))
    head = 2 * 1
    assert macs(network)[0] == expected + head
    if mode is not torch.enable_grad:
        assert macs(network)[1] == head
    assert not alarms(network)


def complex_numbers(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.complex64)


def grouped(self: Any, x: Tensor) -> Tensor:
    """Three experts, whose tokens end at these places."""
    ends = torch.tensor([4, 16, len(x)], dtype=torch.int32)
    return self.head(F.grouped_mm(x, self.w, offs=ends))  # type: ignore[no-any-return]


def by_weight(product: Callable[..., Any], *shape: int, dtype: torch.dtype = torch.float32) -> Callable[[], nn.Module]:
    return lambda: Applied(lambda self, x: product(x, self.w), {"w": nn.Parameter(torch.randn(shape, dtype=dtype))})


def with_head(function: Callable[..., Any], features: int, head: int) -> Callable[[], nn.Module]:
    """A linear layer, and what is done with its result."""
    return lambda: Applied(lambda self, x: function(self.linear(x)), {"linear": nn.Linear(features, head)})


def traced(module: nn.Module, *shape: int) -> Callable[[], nn.Module]:
    return lambda: torch.jit.trace(module, torch.randn(shape))


SPARSE = torch.eye(4).to_sparse()  # 4 numbers
ATEN = torch.ops.aten
CONV = 2 * (4 * 27) * 36  # 4 filters of 3 × 3 × 3 at 6 × 6 positions of 2 images
FIRST = 4 * 3 * 5  # a linear layer from 3 to 5 features on 4 rows
TINY = 8 * 64 * 32


def int4(x: Tensor) -> Tensor:
    weight = ATEN._convert_weight_to_int4pack_for_cpu(torch.ones(32, 64, dtype=torch.int32), 1)
    return ATEN._weight_int4pack_mm_for_cpu(x.bfloat16(), weight, 32, torch.ones(2, 32, 2, dtype=torch.bfloat16))


def fp8(x: Tensor) -> Tensor:
    right, one = torch.ones(32, 64).to(torch.float8_e4m3fn).t(), torch.tensor(1.0)
    return torch._scaled_mm(x.to(torch.float8_e4m3fn), right, one, one, out_dtype=torch.bfloat16)


def flash(x: Tensor) -> Tensor:
    """Attention of 2 sequences of 5 positions with 2 heads of 3 features."""
    heads = x.unflatten(-1, (2, 3)).transpose(1, 2)
    return ATEN._scaled_dot_product_flash_attention_for_cpu(heads, heads, heads)[0]  # type: ignore[no-any-return]


# name: (module, input's shape, forward, backward)
NAMES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int, int]] = {
    "jit.trace of a conv": (traced(nn.Conv2d(3, 4, 3), 2, 3, 8, 8), (2, 3, 8, 8), CONV, CONV),
    "jit.trace of a transposed conv": (
        traced(nn.ConvTranspose2d(3, 4, 3), 2, 3, 6, 6), (2, 3, 6, 6), CONV, CONV,  # the kernel meets 6 × 6 inputs
    ),
    "thnn_conv2d": (by_weight(lambda x, w: ATEN.thnn_conv2d(x, w, [3, 3]), 4, 3, 3, 3), (2, 3, 8, 8), CONV, CONV),
    "_slow_conv2d_forward": (
        by_weight(lambda x, w: ATEN._slow_conv2d_forward(x, w, [3, 3], None, [1, 1], [0, 0]), 4, 3, 3, 3),
        (2, 3, 8, 8), CONV, CONV,
    ),
    "slow_conv_dilated2d": (
        by_weight(lambda x, w: ATEN.slow_conv_dilated2d(x, w, [3, 3], None, [1, 1], [0, 0], [2, 2]), 4, 3, 3, 3),
        (2, 3, 10, 10), CONV, CONV,
    ),
    "slow_conv3d": (
        by_weight(lambda x, w: ATEN.slow_conv3d(x, w, [3, 3, 3]), 4, 3, 3, 3, 3), (2, 3, 5, 5, 5),
        2 * (4 * 81) * 27, 2 * (4 * 81) * 27,
    ),
    "slow_conv_transpose2d": (
        by_weight(lambda x, w: ATEN.slow_conv_transpose2d(x, w, [3, 3]), 3, 4, 3, 3), (2, 3, 6, 6), CONV, CONV,
    ),
    "mkldnn_convolution": (
        by_weight(lambda x, w: ATEN.mkldnn_convolution(x, w, None, [0, 0], [1, 1], [1, 1], 1), 4, 3, 3, 3),
        (2, 3, 8, 8), CONV, CONV,
    ),
    "conv_tbc": (
        by_weight(lambda x, w: torch.conv_tbc(x, w, torch.zeros(5), 1), 3, 4, 5), (7, 2, 4),
        7 * 2 * (3 * 4 * 5), 7 * 2 * (3 * 4 * 5),  # as many steps as before
    ),
    "grouped_mm": (
        lambda: Applied(grouped, {"w": weights(3, 16, 8), "head": nn.Linear(8, 4)}), (24, 16),
        24 * 16 * 8 + 24 * 8 * 4, 24 * 16 * 8 + 2 * (24 * 8 * 4),
    ),
    "grouped_mm, uneven": (
        lambda: Applied(grouped, {"w": weights(3, 16, 8), "head": nn.Linear(8, 4)}), (25, 16),
        25 * 16 * 8 + 25 * 8 * 4, 25 * 16 * 8 + 2 * (25 * 8 * 4),
    ),
    "grouped_mm of batches": (by_weight(F.grouped_mm, 3, 16, 8), (3, 24, 16), 3 * 24 * 128, 3 * 24 * 128),
    "_int_mm": (
        with_head(lambda x: torch._int_mm(x.to(torch.int8), torch.ones(16, 8, dtype=torch.int8)), 16, 16), (32, 16),
        32 * 16 * 16 + 32 * 16 * 8, 0,
    ),
    "_scaled_mm": (with_head(lambda x: fp8(x.detach()), 64, 64), (16, 64), 16 * 64 * 64 + 16 * 64 * 32, 0),
    "_weight_int8pack_mm": (
        with_head(
            lambda x: ATEN._weight_int8pack_mm(
                x.detach().bfloat16(), torch.ones(32, 64, dtype=torch.int8), torch.ones(32, dtype=torch.bfloat16)
            ),
            64, 64,
        ),
        (8, 64), 8 * 64 * 64 + TINY, 0,
    ),
    "_weight_int4pack_mm": (with_head(lambda x: int4(x.detach()), 64, 64), (8, 64), 8 * 64 * 64 + TINY, 0),
    "quantised linear": (
        lambda: Applied(
            lambda self, x: self.q(torch.quantize_per_tensor(self.linear(x), 0.1, 0, torch.quint8)).dequantize(),
            {"linear": nn.Linear(3, 8), "q": torch.ao.nn.quantized.Linear(8, 4)},
        ),
        (2, 3), 2 * (3 * 8) + 2 * (8 * 4), 0,
    ),
    "Bilinear": (
        lambda: Applied(lambda self, x: self.part(x[:, :3], x[:, 3:]), {"part": nn.Bilinear(3, 4, 5)}), (2, 7),
        2 * 5 * (3 * 4) + 2 * 5 * 4, 2 * 5 * (3 * 4) + 2 * 5 * 4,  # x1 by the weight, that by x2
    ),
    "addmm_": (by_weight(lambda x, w: torch.zeros(2, 4).addmm_(x, w), 3, 4), (2, 3), 24, 24),
    "addmv_": (by_weight(lambda x, w: torch.zeros(2).addmv_(x, w), 3), (2, 3), 6, 6),
    "addbmm_": (by_weight(lambda x, w: torch.zeros(5, 4).addbmm_(x, w), 2, 3, 4), (2, 5, 3), 120, 120),
    "baddbmm_": (by_weight(lambda x, w: torch.zeros(2, 5, 4).baddbmm_(x, w), 2, 3, 4), (2, 5, 3), 120, 120),
    "addr_": (by_weight(lambda x, w: torch.zeros(3, 4).addr_(x[0], w), 4), (2, 3), 12, 12),
    "cdist": (by_weight(torch.cdist, 30, 3), (40, 3), 40 * 30 * 3, 40 * 30 * 3),
    "complex linear": (lambda: nn.Linear(3, 4, dtype=torch.complex64), (2, 3), 4 * 2 * 12, 4 * 2 * 12),
    "complex matmul": (by_weight(torch.matmul, 3, 4, dtype=torch.complex64), (2, 3), 4 * 2 * 12, 4 * 2 * 12),
    "complex einsum": (
        by_weight(lambda x, w: torch.einsum("bixy,ioxy->boxy", x, w), 3, 4, 5, 5, dtype=torch.complex64),
        (2, 3, 5, 5), 4 * 2 * 12 * 25, 4 * 2 * 12 * 25,
    ),
    "complex conv": (lambda: nn.Conv2d(3, 4, 3, dtype=torch.complex64), (2, 3, 8, 8), 4 * CONV, 4 * CONV),
    "complex conv1d": (
        lambda: nn.Sequential(nn.Conv1d(3, 4, 3, dtype=torch.complex64), nn.Conv1d(4, 4, 1, dtype=torch.complex64)),
        (2, 3, 8), 4 * 2 * 6 * (36 + 16), 4 * 2 * 6 * (36 + 2 * 16),
    ),
    "complex transposed conv": (
        lambda: nn.ConvTranspose2d(3, 4, 3, dtype=torch.complex64), (2, 3, 6, 6), 4 * CONV, 4 * CONV,
    ),
    "checkpointed complex conv": (
        lambda: Applied(
            lambda self, x: checkpoint(lambda y: self.part(y).abs(), x, use_reentrant=False),
            {"part": nn.Conv2d(3, 4, 3, dtype=torch.complex64)},
        ),
        (2, 3, 8, 8), 4 * CONV, 2 * (4 * CONV),  # it runs again in the backward pass
    ),
    "halves of a tensor": (  # as complex convolutions read them, but two layers
        by_weight(lambda x, w: F.conv2d(x[..., 0], w[..., 0]) * F.conv2d(x[..., 1], w[..., 1]), 4, 3, 3, 3, 3),
        (2, 3, 8, 8, 3), 2 * CONV, 2 * CONV,
    ),
    "affine_grid": (
        with_head(lambda x: F.affine_grid(x.view(2, 2, 3), (2, 1, 5, 5)), 4, 6), (2, 4),
        2 * 24 + 2 * 25 * 6, 2 * 24 + 2 * 25 * 6,
    ),
    "flash attention": (with_head(flash, 6, 6), (2, 5, 6), 360 + 2 * (2 * 2 * 25 * 3), 360 + 4 * (2 * 2 * 25 * 3)),
    "sparse.mm": (with_head(lambda x: torch.sparse.mm(SPARSE, x), 3, 5), (4, 3), FIRST + 4 * 5, FIRST + 4 * 5),
    "sparse @": (with_head(lambda x: SPARSE @ x, 3, 5), (4, 3), FIRST + 4 * 5, FIRST + 4 * 5),
    "CSR": (with_head(lambda x: SPARSE.to_sparse_csr() @ x, 3, 5), (4, 3), FIRST + 4 * 5, FIRST + 4 * 5),
    "dense @ CSR": (with_head(lambda x: x @ SPARSE.to_sparse_csr(), 3, 4), (4, 3), 48 + 4 * 4, 48 + 4 * 4),
    "BSR": (
        with_head(lambda x: SPARSE.to_dense().to_sparse_bsr((2, 2)) @ x, 3, 5), (4, 3), FIRST + 8 * 5, FIRST + 8 * 5,
    ),
    "sparse mv": (with_head(lambda x: SPARSE @ x[:, 0], 3, 1), (4, 3), 4 * 3 + 4, 4 * 3 + 4),
    "sparse addmm": (with_head(lambda x: torch.addmm(x, SPARSE, x), 3, 5), (4, 3), FIRST + 20, FIRST + 20),
    "sparse.addmm": (with_head(lambda x: torch.sparse.addmm(x, SPARSE, x), 3, 5), (4, 3), FIRST + 20, FIRST + 20),
    "sampled_addmm": (
        with_head(lambda x: torch.sparse.sampled_addmm(SPARSE.to_sparse_csr(), x, x.t()).to_dense(), 3, 5), (4, 3),
        FIRST + 4 * 5, FIRST + 2 * (4 * 5),
    ),
    "sparse input": (by_weight(lambda x, w: torch.sparse.mm(torch.eye(3).to_sparse(), w), 3, 4), (2, 3), 12, 12),
    "a weight made sparse": (
        by_weight(lambda x, w: torch.sparse.mm(w.to_sparse(), x), 3, 4), (4, 2), 12 * 2, 12 * 2,
    ),
    "softmax of sparse numbers": (
        with_head(lambda x: torch.sparse.softmax(SPARSE, 1) @ x, 3, 5), (4, 3), FIRST + 20, FIRST + 20,
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", NAMES)
def test_products_by_other_names_are_counted(name: str) -> None:
    build, shape, forward, backward = NAMES[name]
    dtype = torch.complex64 if "complex" in name else torch.float32
    network = swatcost.trace(build(), torch.randn(shape, dtype=dtype))
    assert (macs(network), alarms(network)) == ((forward, backward), [])


def product_and_relu(x: Tensor, w: Tensor) -> Tensor:
    return torch.relu(x @ w)


def scripted(module: nn.Module) -> Callable[[], nn.Module]:
    return lambda: torch.jit.script(module)


SCRIPTS: dict[str, tuple[Callable[[], nn.Module], int, int]] = {  # name: (network, forward, backward), of 5 × 8
    "module": (scripted(nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 8))), 320, 160 + 320),
    "part": (lambda: nn.Sequential(nn.Linear(8, 8), torch.jit.script(nn.Sequential(nn.Linear(8, 4)))), 480, 320 + 320),
    "traced": (traced(nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 8)), 5, 8), 320, 160 + 320),
    "function": (lambda: by_weight(torch.jit.script(product_and_relu), 8, 4)(), 160, 160),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_that_was_optimised_before_is_traced_as_written(script: str) -> None:
    build, forward, backward = SCRIPTS[script]
    with warnings.catch_warnings(action="ignore"):
        module = build()
    x = torch.randn(5, 8)
    for _ in range(4):
        network = swatcost.trace(module, x)
        assert macs(network) == (forward, backward)
        before = module(x)
        before.sum().backward()  # TorchScript optimises while it runs
    assert torch.equal(module(x), before)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("stored", ["to_sparse", "to_sparse_csr", "to_mkldnn"])
def test_work_behind_a_sparse_activation_grows_with_the_batch(stored: str) -> None:
    """A sample costs 8 × 4 MACs at whatever batch, although nothing tells what sparse numbers were computed from."""
    module = by_weight(lambda x, w: getattr(x, stored)().to_dense() @ w, 8, 4)()
    network = swatcost.trace(module, torch.randn(5, 8))
    assert [each.per_step for each in network.layers] == [False]
    assert swatcost.estimate(network, convention="exact", batch_size=7).costs.forward.dense == 8 * 4


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_convolutions_that_torchscript_hides_are_announced() -> None:
    """TorchScript runs them by operations of its own, behind the dispatcher: only what converts their input is seen."""
    hidden = torch.jit.optimize_for_inference(torch.jit.script(nn.Sequential(nn.Conv2d(3, 8, 3)).eval()))
    module = nn.Sequential(hidden, nn.Flatten(), nn.Linear(8 * 2 * 2, 6))
    network = swatcost.trace(module, torch.randn(5, 3, 4, 4))
    assert macs(network)[0] == 5 * 32 * 6
    assert [each.operation for each in network.uncounted if each.products] == ["to_mkldnn"]
    assert swatcost.estimate(network).assumptions[0].startswith("TOO LOW")


# name: (mask, heads of the mask, positions, pairs of positions in the blocks of 128 × 128 that are left, of 2 heads)
MASKS: dict[str, tuple[Any, int | None, int, int]] = {
    "none": (None, None, 256, 2 * 256 * 256),
    "causal": (lambda b, h, q, k: q >= k, None, 256, 2 * 3 * 128 * 128),  # of 4 blocks the upper right one is left out
    "with an end": (lambda b, h, q, k: q >= k, None, 200, 2 * (128 * 128 + 72 * 128 + 72 * 72)),
    "window": (lambda b, h, q, k: (q - k).abs() < 8, None, 512, 2 * (4 + 2 * 3) * 128 * 128),  # diagonal, neighbours
    "documents": (lambda b, h, q, k: q // 128 == k // 128, None, 384, 2 * 3 * 128 * 128),
    "by head": (lambda b, h, q, k: (h > 0) | (q // 128 == k // 128), 2, 256, 4 * 128 * 128 + 2 * 128 * 128),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("mask", MASKS)
def test_flex_attention_costs_what_its_block_mask_leaves(mask: str, compiled: bool) -> None:
    mask_mod, heads, positions, pairs = MASKS[mask]
    block_mask = mask_mod and create_block_mask(mask_mod, None, heads, positions, positions, device="cpu")
    run = torch.compile(flex_attention) if compiled else flex_attention

    def function(self: Any, x: Tensor) -> Tensor:
        q, k, v = (each.unflatten(-1, (2, 16)).transpose(1, 2) for each in self.qkv(x).chunk(3, -1))
        return run(q, k, v, block_mask=block_mask)

    network = swatcost.trace(Applied(function, {"qkv": nn.Linear(32, 96)}), torch.randn(1, positions, 32))
    qkv, both = positions * 32 * 96, 2 * (pairs * 16)  # Q · Kᵀ and P · V
    assert (macs(network), alarms(network)) == ((qkv + both, qkv + 2 * both), [])


def test_flex_attention_is_refused_afterwards_where_torch_refuses_it() -> None:
    q = torch.randn(1, 1, 128, 16, requires_grad=True)
    module = Applied(lambda self, x: flex_attention(x, x, x), {})
    assert macs(swatcost.trace(module, input_shape=(1, 128, 16)))[0] == 11 * 2 * 128 * 128 * 16
    with pytest.raises(NotImplementedError, match="backward on CPU"):
        flex_attention(q, q, q)
