"""Weights: what is computed from parameters alone stays one weight, and is computed once per step."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import swatcost
from swatcost.exporting import export
from swatcost.network import Network
from swatcost.planning import memory_of
from swatcost.simulation.simulation import simulate

BATCHES = (1, 2, 4, 7, 32)  # one, one that divides the sizes below, one that does not


class Functional(nn.Module):
    """Applies a function of the input and of parameters of these shapes."""

    def __init__(self, function: Callable[..., Tensor], *shapes: tuple[int, ...]) -> None:
        super().__init__()
        self.function = function
        self.weights = nn.ParameterList(nn.Parameter(torch.randn(shape)) for shape in shapes)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.weights)


def standardised(x: Tensor, w: Tensor, gain: Tensor) -> Tensor:
    """Scaled weight standardisation, as in NFNets."""
    return F.conv2d(x, F.batch_norm(w.view(1, 6, -1), None, None, gain, training=True).view_as(w))


def masked_by_a_tensor() -> nn.Module:
    module = Functional(lambda x, w: F.linear(x, w * module.mask), (6, 8))
    module.mask = torch.ones(6, 8)  # neither a buffer nor a parameter
    return module


def quantised(x: Tensor, w: Tensor) -> Tensor:
    return F.linear(x, w + ((w / 0.1).round() * 0.1 - w).detach())


class Doubled(nn.Module):
    def forward(self, w: Tensor) -> Tensor:
        return 2 * w


def parametrised() -> nn.Module:
    module = nn.Linear(8, 6)
    nn.utils.parametrize.register_parametrization(module, "weight", Doubled())
    return module


def called_functionally() -> nn.Module:
    inner = nn.Linear(8, 6)
    module = nn.Module()
    module.inner = inner
    module.forward = lambda x: torch.func.functional_call(inner, {"weight": inner.weight * 2}, (x,))  # type: ignore[method-assign]
    return module


ORIGINAL = "parametrizations.weight.original"
IMAGE, ROW = (3, 8, 8), (8,)


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(
    ("make", "sample", "weight", "elements"),
    [
        (lambda: nn.utils.spectral_norm(nn.Linear(8, 6)), ROW, "weight_orig", 48),
        (lambda: nn.utils.spectral_norm(nn.Linear(8, 8)), ROW, "weight_orig", 64),
        (lambda: nn.utils.spectral_norm(nn.ConvTranspose2d(3, 6, 3)), IMAGE, "weight_orig", 3 * 6 * 9),
        (lambda: parametrizations.spectral_norm(nn.Linear(8, 6)), ROW, ORIGINAL, 48),
        (lambda: parametrizations.spectral_norm(nn.Conv2d(3, 6, 3)), IMAGE, ORIGINAL, 6 * 27),
        (lambda: nn.utils.weight_norm(nn.Linear(8, 6)), ROW, "weight_v", 48),
        (lambda: parametrizations.weight_norm(nn.Linear(1, 4)), (1,), f"{ORIGINAL}1", 4),  # as large as its magnitude
        (lambda: parametrizations.orthogonal(nn.Linear(8, 8), orthogonal_map="cayley"), ROW, ORIGINAL, 64),
        (lambda: parametrizations.spectral_norm(nn.Linear(8, 1)), ROW, ORIGINAL, 8),  # a critic's head
        (parametrised, ROW, ORIGINAL, 48),
        (called_functionally, ROW, "inner.weight", 48),
        (lambda: Functional(lambda x, w: F.linear(x, w / w.norm()), (6, 8)), ROW, "weights.0", 48),
        (lambda: Functional(lambda x, w: F.linear(x, w / (w @ w.t()).trace()), (6, 8)), ROW, "weights.0", 48),
        (lambda: Functional(lambda x, w: F.linear(x, w / w.abs().max()), (6, 8)), ROW, "weights.0", 48),
        (lambda: Functional(standardised, (6, 3, 3, 3), (6,)), IMAGE, "weights.0", 6 * 27),
        (masked_by_a_tensor, ROW, "weights.0", 48),
        (lambda: Functional(lambda x, w: F.linear(x, w * torch.ones(6, 8)), (6, 8)), ROW, "weights.0", 48),
        (lambda: Functional(quantised, (6, 8)), ROW, "weights.0", 48),
        (lambda: Functional(lambda x, w: F.linear(x, w.t().contiguous().t()), (6, 8)), ROW, "weights.0", 48),
        (lambda: Functional(lambda x, w: F.linear(x.bfloat16(), w.bfloat16()), (6, 8)), ROW, "weights.0", 48),
        (lambda: Functional(lambda x, w, a, b: F.linear(x, w + a @ b), (6, 8), (6, 2), (2, 8)), ROW, "weights.0", 48),
        (lambda: Functional(lambda x, a, b: x @ (a @ b), (8, 2), (2, 6)), ROW, "(computed in Functional, 1)", 48),
        (lambda: Functional(lambda x, a, b: F.linear(x, torch.cat([a, b])), (6, 8), (4, 8)), ROW,
         "(computed in Functional, 1)", 80),
        (lambda: Functional(lambda x, a, b: F.linear(F.linear(x, a + b), a + b), (8, 8), (8, 8)), ROW,
         "(computed in Functional, 1)", 64),  # computed twice, and one weight all the same
    ],
)  # fmt: skip
def test_a_computed_weight_is_one_weight(
    make: Callable[[], nn.Module], sample: tuple[int, ...], weight: str, elements: int, batch: int
) -> None:
    network = swatcost.trace(make(), torch.randn(batch, *sample))
    assert {layer.weight for layer in network.weight_layers} == {weight}
    assert network.weight_elements == elements
    assert all(layer.per_step == (not layer.is_weight_layer) for layer in network.layers)


def test_different_mixtures_and_parts_are_different_weights() -> None:
    both = Functional(lambda x, a, b: F.linear(F.linear(x, a + b), a - b), (8, 8), (8, 8))
    assert swatcost.trace(both, torch.randn(4, 8)).weight_elements == 2 * 64
    parts = Functional(lambda x, w: sum(F.linear(x, part) for part in (2 * w).split(2)), (6, 8))
    assert swatcost.trace(parts, torch.randn(4, 8)).weight_elements == 6 * 8


class Hypernetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.code = nn.Parameter(torch.zeros(1, 8))
        self.make = nn.Linear(8, 15)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.make(self.code).view(3, 5)


class Table(nn.Module):
    """A linear layer over a table of positions, as Swin's, whose result is added to every sample."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("positions", torch.randn(5, 2))
        self.bias = nn.Linear(2, 8)

    def forward(self, x: Tensor) -> Tensor:
        return x[:, None] + self.bias(self.positions)


def mixed(x: Tensor, mixture: Tensor, kernels: Tensor) -> Tensor:
    return F.conv2d(x, (mixture @ kernels.flatten(1)).view(4, 3, 3, 3))


def composed(x: Tensor, first: Tensor, second: Tensor) -> Tensor:
    return F.conv2d(x, F.conv2d(first.transpose(0, 1), second).transpose(0, 1))


# forward MACs once per step, and per sample
ONCE = [
    (lambda: Functional(mixed, (4, 5), (5, 3, 3, 3)), IMAGE, 4 * 5 * 27, 36 * 4 * 27),
    # 1 × 1 kernels after 3 × 3 ones: in each of 3 "images" of 3 × 3 positions 2 × 4 products
    (lambda: Functional(composed, (2, 3, 3, 3), (4, 2, 1, 1)), IMAGE, 3 * 9 * 2 * 4, 36 * 4 * 27),
    (lambda: Functional(lambda x, w, a, b: F.linear(x, w + a @ b), (6, 8), (6, 2), (2, 8)), ROW, 6 * 2 * 8, 48),
    (lambda: Functional(lambda x, a, b: x @ (a @ b), (8, 2), (2, 6)), ROW, 8 * 2 * 6, 48),
    # u ← W v, v ← Wᵀ u, and σ = uᵀ (W v)
    (lambda: nn.utils.spectral_norm(nn.Linear(8, 6)), ROW, 3 * 48 + 6, 48),
    (lambda: parametrizations.spectral_norm(nn.Linear(8, 6)), ROW, 3 * 48 + 6, 48),
    (Hypernetwork, (3,), 8 * 15, 15),
    (Table, (8,), 5 * 2 * 8, 0),
]  # fmt: skip


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(("make", "sample", "once", "each"), ONCE)
def test_work_on_weights_is_done_once_per_step(
    make: Callable[[], nn.Module], sample: tuple[int, ...], once: int, each: int, batch: int
) -> None:
    network = swatcost.trace(make(), torch.randn(batch, *sample))
    for step in (1, 32):
        estimate = swatcost.estimate(network, convention="exact", batch_size=step)
        assert estimate.costs.forward.dense == pytest.approx(each + once / step, rel=1e-12)
        assert sum(layer.costs.forward.dense for layer in estimate.layers) == pytest.approx(each + once / step)
        assert sum(each["macs"]["forward"]["dense"] for each in estimate.to_dict()["layers"]) == pytest.approx(
            each + once / step
        )
        assert any("Done once per step" in note for note in estimate.assumptions)
        assert not any("averaged over the traced batch" in note for note in estimate.assumptions)
    loops = export(network, "csv", batch_size=32, passes=("forward",)).workloads
    if not any(layer.kind == "custom" for layer in network.layers):  # its loops are unknown
        assert sum(work.macs for work in loops) == 32 * each + once


def test_work_on_weights_in_a_sweep_a_run_and_a_simulation() -> None:
    module = Functional(lambda x, w, a, b: F.linear(x, w + a @ b), (6, 8), (6, 2), (2, 8))
    network: Network = swatcost.trace(module, torch.randn(4, 8))
    estimate = swatcost.estimate(network, convention="exact", batch_size=16)
    # forward and two gradients of a @ b, forward and grad_weight of the layer
    assert estimate.costs.training.dense == 3 * 96 / 16 + 2 * 48
    swept = swatcost.sweep(network, convention="exact", batch_size=[8, 16], weights=[0.0])
    assert list(swept["training_macs"]) == [3 * 96 / 8 + 96, 3 * 96 / 16 + 96]
    cycles = [simulate(network, batch_size=size).training.dense * size for size in (1, 8, 16)]
    # the layer's cycles grow with the batch, those of a @ b do not
    assert cycles[2] - cycles[1] == pytest.approx(8 / 15 * (cycles[2] - cycles[0]), rel=0.2)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(
    "expanded",
    [
        lambda q, x: q.expand(x.shape[0], -1, -1),
        lambda q, x: q.repeat(x.shape[0], 1, 1),
        lambda q, x: q[0].expand(x.shape[0], 5, 8),
        lambda q, x: torch.cat([q] * x.shape[0]) if x.shape[0] > 1 else q.expand(1, 5, 8),  # cat([q]) shows nothing
        lambda q, x: q + torch.zeros(x.shape[0], 1, 1),
    ],
)
def test_a_query_that_is_expanded_to_the_batch_is_work_per_sample(
    expanded: Callable[[Tensor, Tensor], Tensor], batch: int
) -> None:
    module = Functional(lambda x, q, w: F.linear(expanded(q, x), w) + x[:, None], (1, 5, 8), (8, 8))
    network = swatcost.trace(module, torch.randn(batch, 8))
    assert [layer.per_step for layer in network.layers] == [False]
    assert swatcost.estimate(network, convention="exact").costs.forward.dense == 5 * 64


class Queries(nn.Module):
    """DETR's: steps first, with a learned query per object."""

    def __init__(self) -> None:
        super().__init__()
        self.queries, self.attention = nn.Embedding(5, 8), nn.MultiheadAttention(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        queries = self.queries.weight.unsqueeze(1).repeat(1, x.shape[1], 1)
        return self.attention(queries, x, x)[0]


class Timed(nn.Module):
    """Computes with a time per sample that it makes itself."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.embed(torch.full((x.shape[0],), 3.0)[:, None] * torch.arange(8.0))


@pytest.mark.parametrize("batch", BATCHES)
def test_what_a_module_makes_for_every_sample_is_work_per_sample(batch: int) -> None:
    for module, sample, forward in (
        # query, key and value of 5 queries and 7 tokens, two products, the output
        (Queries(), (7, batch, 8), 5 * 64 + 7 * 128 + 2 * 5 * 7 * 8 + 5 * 64),
        (Timed(), (batch, 8), 64),
    ):
        network = swatcost.trace(module, torch.randn(sample))
        assert network.batch_size == batch
        assert not any(layer.per_step for layer in network.layers)
        assert swatcost.estimate(network, convention="exact").costs.forward.dense == forward


@pytest.mark.parametrize("batch", BATCHES)
def test_the_state_that_a_recurrent_layer_starts_from_grows_with_the_batch(batch: int) -> None:
    for module in (nn.LSTM(8, 5, batch_first=True), nn.GRU(8, 5, batch_first=True), nn.LSTMCell(8, 5)):
        sample = (8,) if isinstance(module, nn.LSTMCell) else (6, 8)
        network = swatcost.trace(module, torch.randn(batch, *sample))
        assert not any(layer.per_step for layer in network.layers)


def test_memory_of_computed_weights_does_not_grow() -> None:
    module = Functional(lambda x, w: F.linear(x, w.exp()), (64, 64))
    network = swatcost.trace(module, torch.randn(4, 64))  # 4 divides 64, so shapes do not tell
    saved = {layer: swatcost.estimate(network, batch_size=layer).memory.saved_activations.dense for layer in (4, 8)}
    # kept: exp(w), 64 · 64 values, whatever the batch; and x, 64 values per sample
    assert saved == {4: 4 * (64 * 64 + 4 * 64), 8: 4 * (64 * 64 + 8 * 64)}


@pytest.mark.parametrize("batch", [1, 4, 8, 32])  # all divide 64, 11 does not
def test_the_peak_is_the_same_from_any_traced_batch(batch: int) -> None:
    module = Functional(lambda x, w, a, b: F.linear(x, w + a @ b).relu(), (64, 64), (64, 2), (2, 64))
    peaks = [memory_of(swatcost.trace(module, torch.randn(size, 64)), batch_size=16) for size in (11, batch)]
    assert peaks[0].memory.dense.peak.bytes == peaks[1].memory.dense.peak.bytes
