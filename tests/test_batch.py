"""Where the samples of a network's inputs are: told by the caller, the inputs or the modules, or assumed and said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence

import swatcost
from swatcost.network.network import parse_network


def of(*shape: int) -> Tensor:
    return torch.randn(shape)


class Language(nn.Module):
    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.embed, self.rnn, self.head = nn.Embedding(50, 8), nn.LSTM(8, 6, batch_first=batch_first), nn.Linear(6, 50)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.rnn(self.embed(x))[0])


class Transposing(nn.Module):
    """Takes samples first and has a recurrent layer that takes steps first."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(10, 20)

    def forward(self, x: Tensor) -> Any:
        return self.rnn(x.transpose(0, 1))[0]


class Detector(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images: list[Tensor], targets: Any = None) -> list[Tensor]:
        return [self.conv(image[None]) for image in images]


class Packing(nn.Module):
    """Takes padded sequences and their lengths."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.rnn = nn.LSTM(10, 20, batch_first=batch_first)

    def forward(self, x: Tensor, lengths: Tensor) -> Any:
        return self.rnn(pack_padded_sequence(x, lengths, self.rnn.batch_first, enforce_sorted=False))[0].data


class Records(Detector):
    """Takes one mapping per image, as detectron2's networks do."""

    def forward(self, images: Any, targets: Any = None) -> list[Tensor]:
        return super().forward([each["image"] for each in images])


def tokens(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.int64)


LSTM = 4 * 20 * (10 + 20)  # per step of a sample: four gates of 20 that read 10 inputs and 20 of the state
# per token: in_proj, out_proj and the two linear layers; per pair of tokens Q · Kᵀ and P · V
TOKEN, PAIR = 4 * 32 * 32 + 2 * 32 * 64, 2 * 32
IMAGES = 4 * 27 * (6 * 6 + 8 * 6)  # filters of 3 · 3 · 3 at 6 × 6 and 8 × 6 positions


@pytest.mark.parametrize(
    ("module", "inputs", "batch", "dim", "per_sample", "told"),
    [
        (nn.LSTM(10, 20), of(5, 3, 10), 3, 1, 5 * LSTM, "LSTM with batch_first=False"),
        (nn.LSTM(10, 20), {"input": of(5, 3, 10)}, 3, 1, 5 * LSTM, "batch_first=False"),
        (nn.LSTM(10, 20, batch_first=True), of(5, 3, 10), 5, 0, 3 * LSTM, "batch_first=True"),
        (nn.GRU(10, 20), of(5, 3, 10), 3, 1, 5 * LSTM * 3 / 4, "batch_first=False"),
        (nn.RNN(10, 20), of(5, 3, 10), 3, 1, 5 * LSTM / 4, "batch_first=False"),
        (nn.LSTM(10, 20), of(5, 10), 1, None, 5 * LSTM, "one sample"),
        (nn.GRUCell(10, 20), of(10), 1, None, LSTM * 3 / 4, "one sample"),
        (nn.GRUCell(10, 20), of(4, 10), 4, 0, LSTM * 3 / 4, "GRUCell"),
        (Transposing(), of(5, 3, 10), 5, 0, 3 * LSTM, "rnn (LSTM) with batch_first=False"),
        (Language(False), tokens(7, 3), 3, 1, 7 * (4 * 6 * 14 + 300), "rnn"),
        (Language(True), tokens(7, 3), 7, 0, 3 * (4 * 6 * 14 + 300), "rnn"),
        (nn.TransformerEncoderLayer(32, 4, 64), of(7, 3, 32), 3, 1, 7 * TOKEN + 49 * PAIR, "self_attn"),
        (nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), of(7, 3, 32), 7, 0, 3 * TOKEN + 9 * PAIR, "True"),
        (nn.TransformerEncoderLayer(32, 4, 64), of(7, 32), 1, None, 7 * TOKEN + 49 * PAIR, "one sample"),
        (nn.MultiheadAttention(32, 4), (of(7, 3, 32),) * 3, 3, 1, 7 * 4 * 32 * 32 + 49 * PAIR, "MultiheadAttention"),
        (nn.Linear(32, 64), of(32), 1, None, 32 * 64, "Linear, which is given one sample without a batch"),
        (nn.Sequential(nn.ReLU(), nn.Linear(32, 64)), of(32), 1, None, 32 * 64, "1 (Linear), which"),
        (nn.Linear(32, 64), of(8, 32), 8, 0, 32 * 64, "Linear"),
        (nn.Conv2d(3, 8, 3), of(3, 8, 8), 1, None, 8 * 27 * 36, "one sample"),
        (nn.Sequential(nn.Conv1d(3, 8, 3), nn.ReLU()), of(3, 8), 1, None, 8 * 9 * 6, "one sample"),
        (nn.ConvTranspose2d(3, 8, 3), of(3, 8, 8), 1, None, 8 * 27 * 64, "one sample"),
        (nn.Conv2d(3, 8, 3), of(4, 3, 8, 8), 4, 0, 8 * 27 * 36, "Conv2d"),
        (nn.LSTM(10, 20), pack_sequence([of(5, 10), of(3, 10), of(2, 10)]), 3, None, 10 * LSTM / 3, "packed"),
        (nn.LSTM(10, 20), (pack_sequence([of(5, 10), of(3, 10)]),), 2, None, 8 * LSTM / 2, "a packed sequence"),
        (Detector(), [of(3, 8, 8), of(3, 10, 8)], 2, None, IMAGES / 2, "a list of 2 tensors"),
        (Detector(), ([of(3, 8, 8), of(3, 10, 8)],), 2, None, IMAGES / 2, "a list of 2 tensors"),
        (Detector(), {"images": [of(3, 8, 8), of(3, 10, 8)]}, 2, None, IMAGES / 2, "a list of 2 tensors"),
        (Records(), ([{"image": of(3, 8, 8)}, {"image": of(3, 10, 8)}],), 2, None, IMAGES / 2, "a list of 2 mappings"),
        (Records(), {"images": [{"image": of(3, 8, 8)}]}, 1, None, 4 * 27 * 36, "a list of 1 mapping"),
        (Packing(False), (of(5, 3, 10), torch.tensor([2, 5, 3])), 3, 1, 10 * LSTM / 3, "rnn (LSTM) with batch_first"),
        (Packing(True), (of(3, 5, 10), torch.tensor([2, 5, 3])), 3, 0, 10 * LSTM / 3, "rnn (LSTM) with batch_first"),
        (Detector(), [of(3, 8, 8)], 1, None, 4 * 27 * 36, "a list of 1 tensor"),
        (nn.Linear(32, 64), of(8, 5, 32), 8, 0, 5 * 32 * 64, ""),
        (nn.Embedding(50, 8), tokens(7, 3), 7, 0, 0, ""),
    ],
)
def test_who_says_which_samples_there_are(
    module: nn.Module, inputs: Any, batch: int, dim: int | None, per_sample: float, told: str
) -> None:
    network = swatcost.trace(module, inputs)
    assert (network.batch_size, network.batch_dim) == (batch, dim)
    assert told in network.batch_told_by
    assert (network.batch_told_by == "") == (told == "")
    if not per_sample:
        return
    estimate = swatcost.estimate(network, convention="exact")
    assert estimate.costs.forward.dense == pytest.approx(per_sample)
    assert any("is assumed to count the samples" in note for note in estimate.assumptions) == (told == "")
    assert any(f"as told by {network.batch_told_by}" in note for note in estimate.assumptions) == (dim != 0)
    assert parse_network(network.to_json().encode(), "trace.json") == network


def jagged() -> Tensor:
    return torch.nested.nested_tensor([of(3, 8), of(5, 8)], layout=torch.jagged)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_jagged_tensors() -> None:
    network = swatcost.trace(nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2)), jagged())
    assert (network.batch_size, network.batch_dim) == (2, None)
    assert network.batch_told_by == "a nested tensor"
    (first, second), estimate = network.weight_layers, swatcost.estimate(network, convention="exact")
    assert (first.input_shape, second.input_shape) == ((8, 8), (8, 6))  # 3 + 5 rows
    # forward, both gradients of the second layer, and the first one's weight gradient
    assert estimate.costs.training.dense * 2 == 8 * (2 * 48 + 3 * 12)
    assert swatcost.trace(nn.Linear(8, 6), jagged(), batch_dim=0).batch_size == 2
    with pytest.raises(swatcost.SwatcostError, match="batch_dim 1: the first input, 2 jagged samples, has no"):
        swatcost.trace(nn.Linear(8, 6), jagged(), batch_dim=1)
    with pytest.raises(swatcost.SwatcostError, match=r"layout=torch\.jagged"):
        swatcost.trace(nn.Linear(8, 6), torch.nested.as_nested_tensor([of(3, 8), of(5, 8)], layout=torch.strided))


@pytest.mark.parametrize(
    ("said", "batch", "dim"),
    [
        ({"batch_dim": 0}, 5, 0),
        ({"batch_dim": 1}, 3, 1),
        ({"batch_dim": -3}, 5, 0),
        ({"batch_size": 5}, 5, 0),
        ({"batch_size": 3}, 3, 1),
        ({"batch_size": 3, "batch_dim": 1}, 3, 1),
        ({"batch_size": 1}, 1, None),
    ],
)
def test_the_caller_has_the_last_word(said: dict[str, int], batch: int, dim: int | None) -> None:
    network = swatcost.trace(nn.LSTM(10, 20), of(5, 3, 10), **said)
    assert (network.batch_size, network.batch_dim) == (batch, dim)
    estimate = swatcost.estimate(network, convention="exact")
    assert estimate.costs.forward.dense == 15 * LSTM / batch
    assert not any("as told by" in note or "assumed to count" in note for note in estimate.assumptions)


@pytest.mark.parametrize("function", [swatcost.estimate, swatcost.summary])
def test_the_caller_can_say_it_where_a_module_is_traced(function: Callable[..., Any]) -> None:
    found = function(nn.Linear(32, 64), example_inputs=of(8, 5, 32), batch_dim=1)
    network = found.network if function is swatcost.estimate else found.estimate.network
    assert (network.batch_size, network.batch_dim) == (5, 1)
    with pytest.raises(swatcost.SwatcostError, match="batch_dim is for a module"):
        function(network, batch_dim=0)


@pytest.mark.parametrize(
    ("module", "shape", "said", "dim", "per_sample"),
    [
        (nn.LSTM(10, 20), (5, 10), {}, 1, 5 * LSTM),
        (nn.LSTM(10, 20, batch_first=True), (5, 10), {}, 0, 5 * LSTM),
        (nn.LSTM(10, 20), (5, 10), {"batch_dim": 1}, 1, 5 * LSTM),
        (nn.TransformerEncoderLayer(32, 4, 64), (7, 32), {}, 1, 7 * TOKEN + 49 * PAIR),
        (Language(False), (7,), {}, 1, 7 * (4 * 6 * 14 + 300)),
        (Transposing(), (3, 10), {}, 0, 3 * LSTM),
    ],
)
def test_the_shape_of_one_sample_gets_the_batch_where_it_belongs(
    module: nn.Module, shape: tuple[int, ...], said: dict[str, int], dim: int, per_sample: int
) -> None:
    network = swatcost.trace(module, input_shape=shape, **said)
    assert network.batch_dim == dim
    assert network.sample_shape(network.input_shapes[0]) == shape
    assert swatcost.estimate(network, convention="exact").costs.forward.dense == per_sample


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"batch_dim": 2}, "batch_dim 2: the first input, 4×8, has no such dimension"),
        ({"batch_dim": -3}, "batch_dim -3"),
        ({"batch_dim": True}, "batch_dim True: give the number of a dimension"),
        ({"batch_dim": 0, "batch_size": 3}, "batch_size 3: dimension 0 of the first input has size 4"),
        ({"batch_size": 3}, "batch_size 3: no dimension"),
    ],
)
def test_what_cannot_be_the_batch(said: dict[str, Any], message: str) -> None:
    with pytest.raises(swatcost.SwatcostError, match=message):
        swatcost.trace(nn.Linear(8, 4), of(4, 8), **said)
    if "batch_size" not in said:
        with pytest.raises(swatcost.SwatcostError, match="batch_dim"):
            swatcost.trace(nn.Linear(8, 4), input_shape=(8,), **said)
