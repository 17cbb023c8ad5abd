"""Which layers a plan makes sparse."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import swatcost
from swatcost.methods import METHODS, LayerSparsity, Method
from swatcost.network import Network


def sparse_layers(estimate: swatcost.Estimate) -> list[str]:
    return [each.layer.name for each in estimate.layers if each.sparsity.weight > 0]


@pytest.fixture
def four_layers() -> Network:
    return swatcost.trace(nn.Sequential(*(nn.Linear(8, 8) for _ in range(4))), input_shape=(8,))


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ["1", "2", "3"]),
        ({"first_layer": "sparse"}, ["0", "1", "2", "3"]),
        ({"last_layer": "dense"}, ["1", "2"]),
        ({"first_layer": "sparse", "last_layer": "dense"}, ["0", "1", "2"]),
        ({"keep_dense": ["2"]}, ["1", "3"]),
        ({"keep_dense": ["[12]", "3"]}, []),
    ],
)
def test_layers_kept_dense(four_layers: Network, options: dict[str, object], names: list[str]) -> None:
    estimate = swatcost.estimate(four_layers, weights=0.5, acts=0.5, **options)  # type: ignore[arg-type]
    assert sparse_layers(estimate) == names


def test_the_output_names_them_with_the_reason(four_layers: Network) -> None:
    estimate = swatcost.estimate(four_layers, weights=0.5, last_layer="dense", keep_dense=["2"])
    assert "Kept dense: 0 (first layer); 2 (named by 2); 3 (last layer)." in estimate.assumptions


def test_weights_and_activations_have_sparsities_of_their_own(four_layers: Network) -> None:
    estimate = swatcost.estimate(four_layers, weights=0.75, acts=0.5)
    assert estimate.layers[1].sparsity == LayerSparsity(weight=0.75, activation=0.5)
    assert estimate.weight_sparsity == pytest.approx(0.75 * 3 / 4)  # three of four equal layers
    assert estimate.act_sparsity == pytest.approx(0.5 * 3 / 4)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.other = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.second.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.other(self.second(self.first(x)))


def test_a_shared_weight_is_dense_everywhere_and_counts_once() -> None:
    network = swatcost.trace(Tied(), input_shape=(8,))
    estimate = swatcost.estimate(network, weights=0.5)
    assert network.weight_elements == 128
    assert network.parameter_elements == 2 * 64 + 3 * 8
    assert sparse_layers(estimate) == ["other"]
    assert estimate.model_compression == pytest.approx(128 / (64 + 32))
    assert [each.params for each in estimate.layers] == [72, 8, 72]


def test_a_method_can_only_name_operands_that_its_pass_reads() -> None:
    with pytest.raises(ValueError, match="grad_input does not read activation"):
        Method(
            name="x",
            title="x",
            citation="x",
            sparse={"forward": frozenset(), "grad_input": frozenset({"activation"}), "grad_weight": frozenset()},
        )


def test_registering_a_name_twice_raises() -> None:
    with pytest.raises(ValueError, match="already a method called 'swat'"):
        METHODS.register(METHODS["swat"])


class _Embedded(nn.Module):
    """A linear layer behind an embedding, and beside it one that reads numbers, if there are any."""

    def __init__(self, trains: bool = True) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 8)
        self.embedding.weight.requires_grad = trains
        self.dense = nn.Linear(4, 8)
        self.behind = nn.Linear(8, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, tokens: torch.Tensor, numbers: torch.Tensor | None = None) -> torch.Tensor:
        x: torch.Tensor = self.behind(self.embedding(tokens))
        return self.head(x if numbers is None else x + self.dense(numbers))


class _Pixels(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x.float() / 255).mean((2, 3))


_TOKENS = torch.zeros(3, dtype=torch.long)


@pytest.mark.parametrize("trains", [True, False])
def test_no_layer_behind_an_embedding_is_the_one_that_reads_the_input(trains: bool) -> None:
    network = swatcost.trace(_Embedded(trains), example_inputs=_TOKENS)
    found = swatcost.estimate(network, weights=0.5)
    assert not found.plan.kept_dense
    assert any("an embedding reads the input" in each for each in found.assumptions)
    asked = swatcost.estimate(network, weights=0.5, first_layer="dense")
    assert asked.plan.kept_dense == {"behind.weight": "first layer"}


def test_a_layer_that_reads_numbers_beside_an_embedding_is_the_first() -> None:
    network = swatcost.trace(_Embedded(), example_inputs=(_TOKENS, torch.zeros(3, 4)))
    assert swatcost.estimate(network, weights=0.5).plan.kept_dense == {"dense.weight": "first layer"}


def test_whole_numbers_that_no_embedding_reads_are_an_image() -> None:
    network = swatcost.trace(_Pixels(), example_inputs=torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    assert swatcost.estimate(network, weights=0.5).plan.kept_dense == {"conv.weight": "first layer"}
