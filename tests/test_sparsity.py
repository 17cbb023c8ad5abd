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
    with pytest.raises(ValueError, match="a method called 'swat' already"):
        METHODS.register(METHODS["swat"])
