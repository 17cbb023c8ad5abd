"""Steps under torch.autocast of layers and habits of many kinds, against the same steps run on a CPU."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.amp import autocast_mode
from torch.nn.utils import parametrizations

import swatcost
from swatcost.common.errors import SwatcostError
from swatcost.memory.dense_step import training_memory

from .cases import Applied, frozen, weights
from .measured import alive_peak, measured_saved
from .networks import BATCH

pytestmark = pytest.mark.filterwarnings("ignore")


class Product(torch.autograd.Function):
    """A custom function as torch.amp documents it."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu")
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return x @ w

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, w = ctx.saved_tensors
        return grad @ w.t(), x.t() @ grad


class CastProduct(Product):
    """One whose arguments are cast."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.bfloat16)
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return x @ w


def recurrent(kind: Callable[..., nn.Module], **how: Any) -> Callable[[], nn.Module]:
    wide = 16 if how.get("bidirectional") else 8
    return lambda: Applied(
        lambda self, x: self.head(self.part(x)[0][:, -1]),
        {"part": kind(6, 8, batch_first=True, **how), "head": nn.Linear(wide, 5)},
    )


def one(function: Callable[..., Any], **more: Callable[[], nn.Module | nn.Parameter]) -> Callable[[], nn.Module]:
    """A layer from 6 to 6, with more parts."""
    return lambda: Applied(function, {"a": nn.Linear(6, 6), **{name: part() for name, part in more.items()}})


def without_copies(self: Any, x: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=False):
        x = self.a(self.a(x))
    return self.a(x)  # type: ignore[no-any-return]


def without_gradients_first(self: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        self.a(x)
    return self.a(x)  # type: ignore[no-any-return]


def disabled_between(self: Any, x: Tensor) -> Tensor:
    h = self.a(x)
    with torch.autocast("cpu", enabled=False):
        h = self.a(h.float())
    return self.a(h)  # type: ignore[no-any-return]


def half_inside(self: Any, x: Tensor) -> Tensor:
    h = self.a(x)
    with torch.autocast("cpu", dtype=torch.float16):
        h = self.b(h)
    return self.a(h)  # type: ignore[no-any-return]


def called_functionally(self: Any, x: Tensor) -> Any:
    return torch.func.functional_call(self.a, dict(self.a.named_parameters()), (x,))


def normalised_queries(self: Any, x: Tensor) -> Tensor:
    """Queries and keys normalised in fp32, values in the lower precision."""
    q, k, v = (each.unflatten(-1, (2, -1)).transpose(1, 2) for each in self.qkv(x).chunk(3, -1))
    y = F.scaled_dot_product_attention(F.rms_norm(q.float(), (4,)), F.rms_norm(k.float(), (4,)), v)
    return self.head(y.transpose(1, 2).flatten(1))  # type: ignore[no-any-return]


def qkv() -> nn.Module:
    return Applied(normalised_queries, {"qkv": nn.Linear(8, 24), "head": nn.Linear(40, 5)})


KINDS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "LSTM": (recurrent(nn.LSTM), (5, 6)),
    "LSTM of two layers, both ways": (recurrent(nn.LSTM, num_layers=2, bidirectional=True), (5, 6)),
    "GRU": (recurrent(nn.GRU), (5, 6)),
    "RNN": (recurrent(nn.RNN), (5, 6)),
    "LSTM cell": (one(lambda s, x: s.a(s.cell(x)[0]), cell=lambda: nn.LSTMCell(6, 6)), (6,)),
    "attention with its weights": (
        lambda: Applied(lambda s, x: s.part(x, x, x)[0], {"part": nn.MultiheadAttention(8, 2, batch_first=True)}),
        (5, 8),
    ),
    "encoder layer": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (5, 8)),
    "normalised queries": (qkv, (5, 8)),
    "custom function": (one(lambda s, x: Product.apply(s.a(x), s.w), w=lambda: weights(6, 5)), (6,)),
    "custom function that casts": (one(lambda s, x: CastProduct.apply(s.a(x), s.w), w=lambda: weights(6, 5)), (6,)),
    "no copies kept": (one(without_copies), (6,)),
    "copies first made without gradients": (one(without_gradients_first), (6,)),
    "disabled between": (one(disabled_between), (6,)),
    "fp16 inside": (one(half_inside, b=lambda: nn.Linear(6, 6)), (6,)),
    "vmap": (one(lambda s, x: torch.func.vmap(lambda each: s.a(each).relu())(x)), (6,)),
    "functional_call": (one(called_functionally), (6,)),
    "scripted": (lambda: nn.Sequential(torch.jit.script(nn.Linear(6, 8)), nn.Linear(8, 5)), (6,)),
    "convolution that keeps its size": (
        lambda: nn.Sequential(nn.Conv1d(3, 4, 3, padding="same"), nn.PReLU(), nn.Flatten(), nn.Linear(32, 5)),
        (3, 8),
    ),
    "in three dimensions": (
        lambda: nn.Sequential(
            nn.Conv3d(3, 4, 3, padding=1), nn.BatchNorm3d(4), nn.MaxPool3d(2), nn.Flatten(), nn.Linear(32, 5)
        ),
        (3, 4, 4, 4),
    ),
    "transposed convolution": (
        lambda: nn.Sequential(
            nn.ConvTranspose2d(3, 4, 2, 2),
            nn.InstanceNorm2d(4, affine=True),
            nn.LeakyReLU(),
            nn.ReflectionPad2d(1),
            nn.Flatten(),
            nn.Linear(400, 5),
        ),
        (3, 4, 4),
    ),
    "group norm, upsampled": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 1),
            nn.GroupNorm(2, 4),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(4, 4, 1),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.Flatten(),
            nn.Linear(1024, 5),
        ),
        (3, 4, 4),
    ),
    "weight norm": (
        lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 8)), nn.ELU(), nn.Linear(8, 5)),
        (6,),
    ),
    "spectral norm": (
        lambda: nn.Sequential(parametrizations.spectral_norm(nn.Linear(6, 8)), nn.ELU(), nn.Linear(8, 5)),
        (6,),
    ),
    "joined with its input": (
        one(lambda s, x: torch.cat([s.a(x), x], 1) + torch.stack([s.a(x), x], 1).flatten(1)),
        (6,),
    ),
    "written into": (one(lambda s, x: torch.index_copy(s.a(x), 1, torch.tensor([1], device=x.device), x[:, :1])), (6,)),
    "norms": (one(lambda s, x: F.normalize(s.a(x)) + s.a(x).norm(dim=1, keepdim=True) + torch.norm(s.a(x))), (6,)),
    "einsum": (one(lambda s, x: torch.einsum("bi,ij->bj", s.a(x), s.w), w=lambda: weights(6, 5)), (6,)),
    "Fourier transform": (one(lambda s, x: s.b(torch.fft.rfft(s.a(x)).abs()), b=lambda: nn.Linear(4, 5)), (6,)),
    "frozen": (
        lambda: nn.Sequential(frozen(nn.Linear(6, 8)), nn.ReLU(), frozen(nn.Linear(8, 8)), nn.Linear(8, 5)),
        (6,),
    ),
    "softmax in a precision asked for": (one(lambda s, x: F.softmax(s.a(x), -1, dtype=torch.bfloat16)), (6,)),
}


# The hook by which a trace watches a custom function keeps its result's gradient while autograd casts those that it
# returns; and TorchScript, which is traced as it is written, differentiates by itself.
PEAKS_DIFFER = {"custom function that casts", "scripted"}


@pytest.mark.parametrize("name", KINDS)
def test_saved_bytes_and_peak_to_the_byte(name: str) -> None:
    build, shape = KINDS[name]
    module, x = build(), torch.randn(BATCH, *shape)
    network = swatcost.trace(module, x, loss="cross-entropy", autocast="amp-cpu", batch_size=BATCH)
    step = training_memory(network, batch_size=BATCH, optimizer="sgd", precision="amp-cpu")
    made = lambda: (build(), (x,))  # noqa: E731 - one name for both
    assert step.saved_bytes == measured_saved(made, "cross-entropy", "amp-cpu")
    if name not in PEAKS_DIFFER:
        assert step.peak.bytes == alive_peak(made, "sgd", "cross-entropy", "amp-cpu")


@pytest.mark.parametrize("autocast", ["amp", "amp-cpu"])
def test_attention_is_fused_on_the_meta_device_too(autocast: str) -> None:
    """What is normalised in fp32 is cast; attention then keeps one number per row instead of all scores."""
    network = swatcost.trace(qkv(), input_shape=(5, 8), autocast=autocast)
    assert not [each for each in network.saved if each.operation == "_softmax"]


def test_what_an_operation_is_given_on_cuda() -> None:
    """As the lists of autocast_mode.h and the rules beside them have it, for what the test of precisions leaves out."""
    low, full, half = torch.bfloat16, torch.float32, torch.float16
    found: dict[str, Any] = {}

    class Cast(torch.autograd.Function):
        @staticmethod
        @torch.amp.custom_fwd(device_type="cuda", cast_inputs=torch.float16)
        def forward(ctx: Any, x: Tensor) -> Tensor:
            found["custom"] = x.dtype
            found["enabled in a custom function that casts"] = torch.is_autocast_enabled("cuda")
            return x.clone()

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            return grad

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(8, 8), nn.Bilinear(8, 8, 4)

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            labels = torch.zeros(len(y), dtype=torch.int64, device=y.device)
            q = x.view(-1, 1, 2, 4)
            found.update(
                {
                    "softmax asked for": F.softmax(y, -1, dtype=low).dtype,
                    "sum asked for": y.sum(0, dtype=torch.float64).dtype,
                    "norm": torch.ops.aten.norm.Scalar(y).dtype,
                    "norm of a dimension": torch.ops.aten.norm.ScalarOpt_dim(y, 2, [1]).dtype,
                    "widest": torch.addcmul(y, y, x).dtype,
                    "widest of low ones": torch.addcmul(y, y, y).dtype,
                    "bilinear": self.b(y, x).dtype,
                    "cross-entropy": F.cross_entropy(y, labels).dtype,
                    "log-softmax": F.log_softmax(y, -1).dtype,
                    "attention": F.scaled_dot_product_attention(q, q, q).dtype,
                    "double": F.linear(x.double(), self.a.weight.double()).dtype,
                    "in place": x.clone().addmm_(x, x[:8].t() @ x[:8]).dtype,
                    "dtype on a GPU": torch.get_autocast_gpu_dtype(),
                }
            )
            Cast.apply(y.float())
            with torch.cuda.amp.autocast():
                found["older name"] = self.a(x).dtype
            return y

    swatcost.trace(Watched(), input_shape=(8,), autocast="amp", loss="none")
    assert found == {
        "softmax asked for": low, "sum asked for": torch.float64, "norm": full, "norm of a dimension": full,
        "widest": full, "widest of low ones": low, "bilinear": full, "cross-entropy": full, "log-softmax": full,
        "attention": low, "double": torch.float64, "in place": full, "dtype on a GPU": low, "custom": half,
        "enabled in a custom function that casts": False, "older name": half,
    }  # fmt: skip


def test_what_autocast_refuses_on_cuda() -> None:
    """As torch does; on a CPU it runs in fp32."""
    module = one(lambda s, x: F.binary_cross_entropy(s.a(x).sigmoid(), torch.zeros_like(x)))()
    with pytest.raises(SwatcostError, match="autocast refuses binary_cross_entropy on CUDA: use"):
        swatcost.trace(module, input_shape=(6,), autocast="amp")
    assert swatcost.trace(module, input_shape=(6,), autocast="amp-cpu").conditions.loss == "its own"


def state() -> tuple[Any, ...]:
    """What torch.autocast is, and what torch says of it."""
    kinds = ("__init__", "__enter__", "__exit__")
    names = ("is_autocast_enabled", "get_autocast_dtype", "get_autocast_gpu_dtype", "is_autocast_cache_enabled")
    kernels = torch._C._dispatch_has_kernel_for_dispatch_key("aten::linear", "AutocastHPU")
    keys = torch._C._dispatch_tls_local_include_set(), torch._C._dispatch_tls_local_exclude_set()
    return (
        *(vars(autocast_mode.autocast)[name] for name in kinds), *(vars(torch)[name] for name in names),
        autocast_mode._cast, kernels, *map(repr, keys), torch.is_autocast_enabled("cpu"),
        torch.is_autocast_enabled("hpu"), torch.get_autocast_dtype("cpu"), torch.is_autocast_cache_enabled(),
    )  # fmt: skip


def test_nothing_is_left_behind() -> None:
    """After two traces in a row, and after ones that fail in the network, in its loss and in its own region."""

    def failing(self: Any, x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            raise ValueError(self.a(x).dtype)

    before, module = state(), one(lambda s, x: s.a(x))()
    first, second = (swatcost.trace(module, input_shape=(6,), autocast="amp") for _ in range(2))
    assert first == second
    for function, loss in ((failing, None), (lambda s, x: s.a(x), lambda output: output.no_such_thing)):
        with pytest.raises(SwatcostError):
            swatcost.trace(one(function)(), input_shape=(6,), autocast="amp", loss=loss)
    assert state() == before
    assert swatcost.trace(module, input_shape=(6,)).conditions.autocast == ""


def test_other_threads_keep_their_autocast() -> None:
    """A loop that trains meanwhile, in another thread, is not cast as the traced step is."""
    found: list[Any] = []

    def elsewhere() -> None:
        layer, x = nn.Linear(6, 6), torch.ones(2, 6)
        found.extend((torch.is_autocast_enabled("cpu"), layer(x).dtype))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found.extend((torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"), layer(x).dtype))

    def forward(self: Any, x: Tensor) -> Tensor:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        found.append(self.a(x).dtype)
        return self.a(x)  # type: ignore[no-any-return]

    swatcost.trace(one(forward)(), torch.ones(2, 6), autocast="amp-fp16")
    assert found == [False, torch.float32, True, torch.bfloat16, torch.bfloat16, torch.float16]


def test_a_networks_own_autocast_without_ours() -> None:
    """It is torch's, which does nothing on the meta device, and casts example inputs on a CPU."""

    def own(self: Any, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.b(self.a(x).relu())  # type: ignore[no-any-return]

    build = one(own, b=lambda: nn.Linear(6, 5))
    x = torch.randn(BATCH, 6)
    network = swatcost.trace(build(), x, loss="cross-entropy")
    step = training_memory(network, batch_size=BATCH, optimizer="sgd")
    assert step.saved_bytes == measured_saved(lambda: (build(), (x,)), "cross-entropy")
    assert step.peak.bytes == alive_peak(lambda: (build(), (x,)), "sgd", "cross-entropy")
    plain = one(lambda s, x: s.b(s.a(x).relu()), b=lambda: nn.Linear(6, 5))()
    assert swatcost.trace(build(), input_shape=(6,)).storages == swatcost.trace(plain, input_shape=(6,)).storages
