"""What a step saves under torch.autocast, against what autograd really saves under it on a CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import swatcost
from swatcost.common.errors import SwatcostError
from swatcost.memory.dense_step import training_memory
from swatcost.network.conditions import AUTOCASTS
from swatcost.planning.memory import memory_of
from swatcost.reference.saved_bytes import saved_bytes
from swatcost.tracing import autocast

from .networks import BATCH, NETWORKS, gpt_2

pytestmark = pytest.mark.filterwarnings("ignore")


def lost(output: Tensor) -> Tensor:
    """The cross-entropy over the last dimension, or over the second of an image of classes."""
    rows = output if output.dim() == 4 else output.flatten(0, -2)
    shape = (rows.shape[0], *rows.shape[2:])
    return F.cross_entropy(rows, torch.zeros(shape, dtype=torch.int64))


@pytest.mark.parametrize("kind", ["amp-cpu", "amp-cpu-fp16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_saved_bytes_under_autocast_to_the_byte(name: str, kind: str) -> None:
    module, inputs = NETWORKS[name]()
    dtype = getattr(torch, AUTOCASTS[kind][0])

    def forward() -> Tensor:
        with torch.autocast("cpu", dtype=dtype):
            return lost(module(*inputs))

    network = swatcost.trace(module, inputs, autocast=kind, loss="cross-entropy", batch_size=BATCH)
    step = training_memory(network, batch_size=BATCH, precision=kind)
    assert step.saved_bytes == saved_bytes(module, forward)
    assert network.conditions.loss == "cross-entropy"


@pytest.mark.parametrize("name", NETWORKS)
def test_saved_bytes_with_the_loss_to_the_byte(name: str) -> None:
    module, inputs = NETWORKS[name]()
    network = swatcost.trace(module, inputs, loss="cross-entropy", batch_size=BATCH)
    assert training_memory(network, batch_size=BATCH).saved_bytes == saved_bytes(module, lambda: lost(module(*inputs)))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_trace_has_the_step_under_autocast_too(name: str) -> None:
    """With the meta device's tensors, as with those that the network was given."""
    module, inputs = NETWORKS[name]()
    on_meta = module.to("meta"), tuple(each.to("meta") for each in inputs)
    plain = swatcost.trace(*on_meta, loss="cross-entropy", batch_size=BATCH)
    direct = swatcost.trace(*on_meta, loss="cross-entropy", batch_size=BATCH, autocast="amp-fp16")
    for kind in ("amp", "amp-fp16"):
        step = training_memory(plain.under(kind), batch_size=7, precision=kind)
        assert (step.peak.bytes, step.saved) == (lambda one: (one.peak.bytes, one.saved))(
            training_memory(direct, batch_size=7, precision=kind)
        )
        # in a trace under autocast, the cast of a part of a weight is a computed weight, which is not split
        split = 1 + ([each.weight for each in plain.layers] == [each.weight for each in direct.layers])
        for shared in ("ddp", "zero3", "fsdp"):
            step, expected = (
                training_memory(
                    each,
                    batch_size=6,
                    precision=kind,
                    gpus=4,
                    sharding=shared,
                    tensor_parallel=split if shared == "ddp" else 1,
                )
                for each in (plain.under(kind), direct)
            )
            assert (step.peak, step.sent, step.whole) == (expected.peak, expected.sent, expected.whole)
    with pytest.raises(SwatcostError, match="give autocast 'amp-cpu' when it is traced"):
        plain.under("amp-cpu")


def test_the_lists_are_those_of_the_installed_torch() -> None:
    """The header that torch ships names, for CUDA, all but the operations that autocast_mode.cpp adds."""
    header = (Path(torch.__file__).parent / "include/ATen/autocast_mode.h").read_text()
    added = {"cudnn_convolution", "cudnn_convolution_transpose"}
    for start, ours in (
        ("LOWER_PRECISION_FP", set(autocast._LOWER["cuda"]) - added),
        ("FP32_SET_OPT_DTYPE", set(autocast._RESULT_IN_FP32["cuda"])),
        ("PROMOTE", set(autocast._WIDEST["cuda"])),
    ):
        macro = header.split(f"#define AT_FORALL_{start}(_)")[1].split("\n\n")[0]
        named = {line.split("(")[1].split(",")[0].split(")")[0] for line in macro.split("\\\n") if "_(" in line}
        assert named == ours


def test_precisions_of_results_as_on_cuda() -> None:
    """Products in the lower precision; softmax, norms and powers in fp32; what is in no list as its operands are."""
    kinds: dict[str, torch.dtype] = {}

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.norm = nn.Linear(8, 8), nn.LayerNorm(8)

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            kinds.update(linear=y.dtype, gelu=F.gelu(y).dtype, softmax=torch.softmax(y, -1).dtype,
                         norm=self.norm(y).dtype, power=y.pow(2).dtype, cat=torch.cat([y, x]).dtype,
                         mean=y.mean().dtype, total=y.sum().dtype, product=(y @ y.transpose(0, 1)).dtype)  # fmt: skip
            with torch.autocast(x.device.type, enabled=False):
                kinds["disabled"] = self.a(x).dtype
            with torch.autocast("cuda", dtype=torch.float16):
                kinds["nested"] = self.a(x).dtype
            return y

    module = Watched()
    swatcost.trace(module, input_shape=(8,), autocast="amp")
    low, full = torch.bfloat16, torch.float32
    assert kinds == {
        "linear": low, "gelu": low, "mean": low, "product": low, "softmax": full, "norm": full, "power": full,
        "total": full, "cat": full, "disabled": full, "nested": torch.float16,
    }  # fmt: skip
    assert module.a(torch.ones(2, 8)).dtype == full  # nothing is left behind
    with torch.autocast("cpu"):
        assert module.a(torch.ones(2, 8)).dtype == low


def test_a_parameter_is_cast_once_for_the_whole_step() -> None:
    """Three uses of a weight of 40 · 40: one copy of it in 2 bytes, and one of the bias."""

    class Thrice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(40, 40)

        def forward(self, x: Tensor) -> Tensor:
            return self.a(self.a(self.a(x)))  # type: ignore[no-any-return]

    network = swatcost.trace(Thrice(), input_shape=(40,), autocast="amp", loss="none")
    copies = [each for each in network.storages if not each.scales_with_batch and each.float_bytes == 2]
    forward = {event - 1 for event in network.timeline.events[: network.timeline.backward] if event > 0}
    cast = [network.storages[each].bytes for each in forward if network.storages[each] in copies]
    assert sorted(cast) == [2, 2 * 40, 2 * 40 * 40]  # and the loss
    assert [each.weight for each in network.layers] == ["a.weight"] * 3


@pytest.mark.parametrize("on_cpu", [False, True])
def test_dropout_as_on_cuda(on_cpu: bool) -> None:
    """Masks take a byte per element, and fused attention keeps none; a CPU keeps them in bf16, and all scores.

    Per token: the masks of attention's and the MLP's results (32) and of the hidden layer (64), whose result in bf16
    the next layer keeps, too. CUDA's kernels are those that torch's source names: native_dropout, flash attention.
    """

    def saved(dropout: float, kind: str) -> int:
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout, batch_first=True)
        how = {"example_inputs": (torch.zeros(BATCH, 10, 32),)} if on_cpu else {"input_shape": (10, 32)}
        network = swatcost.trace(layer, autocast=kind, loss="none", **how)
        return training_memory(network, batch_size=BATCH, precision=kind).saved_bytes

    masks = BATCH * 10 * (32 + 64 + 32)
    hidden = BATCH * 10 * 64 * 2
    assert saved(0.1, "amp") - saved(0.0, "amp") == masks + hidden


def test_a_language_model_of_gpt_2s_size() -> None:
    """Per sample of 1,024 tokens, in bytes, under autocast in bf16 (s = 1024, h = 768, V = 50,257, 12 layers).

    A layer keeps: the residual stream in fp32 before each norm (2 · 4 s h), the norms' mean and deviation (2 · 8 s),
    each norm's result in bf16 (2 · 2 s h), queries, keys and values (3 · 2 s h), the attention's result, which the
    projection reads, with a logarithm per head (2 s h + 12 · 4 s), and both sides of GELU (2 · 2 · 4 s h), together
    36 s h + 64 s. Beside the layers: the tokens (8 s) and the last norm (4 + 2) s h + 8 s. The cross-entropy: on CUDA
    log-softmax in bf16 and nll_loss in fp32, (2 + 4) s V; on a CPU both in fp32, 4 s V; and its labels, 8 s.
    """
    module, inputs = gpt_2()
    s, h, v = 1024, 768, 50_257
    layers = 12 * (36 * s * h + 64 * s) + 8 * s + 6 * s * h + 8 * s
    assert layers == 345_260_032
    for kind, loss, expected in (
        ("amp", "none", layers),
        ("amp", None, layers + 6 * s * v + 8 * s),
        ("amp-cpu", None, layers + 4 * s * v + 8 * s),
    ):
        network = swatcost.trace(module, inputs, autocast=kind, loss=loss)
        one, two = (training_memory(network, batch_size=size, precision=kind).saved_bytes for size in (1, 2))
        assert two - one == expected


@pytest.mark.parametrize(("held", "batches"), [(True, (23, 33)), (False, (25, 40))])
def test_the_largest_batch_of_a_language_model_of_gpt_2s_size(held: bool, batches: tuple[int, int]) -> None:
    """In 24 GB, under autocast with AdamW (P = 124,402,944 parameters; the rest as above).

    Throughout: parameters and both moments, 12 P, and the numbers of the positions, 8 s. At the peak, in the loss's
    backward pass: the copies in bf16 of the weights that will be read again, 2 · (12 · 12 h² + V h), and three
    numbers; per sample what is saved, the labels and tokens, and nll_loss's gradient in fp32 (4 s V); the logits in
    bf16 (2 s V), if they are held. With every block checkpointed a sample keeps the inputs of 12 blocks in fp32 (4 s h
    each) instead of what the blocks save, and no copy of their weights is kept.
    """
    module, inputs = gpt_2()
    s, h, v = 1024, 768, 50_257
    parameters = v * h + s * h + 12 * (12 * h * h + 5 * h + 4 * h) + 2 * h
    throughout = 12 * parameters + 8 * s
    loss = (12 if held else 10) * s * v + 8 * s  # saved, gradient, logits; labels
    ends = 8 * s + 6 * s * h + 8 * s  # tokens, the last norm
    for checkpoint, weights, blocks, batch in (
        (None, 12 * 12 * h * h + v * h, 12 * (36 * s * h + 64 * s), batches[0]),
        ("blocks.*", v * h, 12 * 4 * s * h, batches[1]),
    ):
        network = swatcost.trace(module, inputs, autocast="amp", checkpoint=checkpoint, hold_outputs=held)
        assert sum(each.elements for each in network.parameters) == parameters
        report = memory_of(network, optimizer="adamw", batch_size=40, fit="24GB")
        assert report.memory.dense.peak.bytes == throughout + 2 * weights + 12 + 40 * (blocks + ends + loss)
        assert report.fits is not None
        assert report.fits["dense"] == batch == int((24e9 - throughout - 2 * weights - 12) / (blocks + ends + loss))
