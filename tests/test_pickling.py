"""Results go to other processes, caches and programs: what comes back is what went, and data is plain."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import swatcost
from swatcost.counting.two_four import two_four
from swatcost.exporting import EXPORTS, export
from swatcost.methods import METHODS
from swatcost.methods.method import OPERANDS
from swatcost.network import Network
from swatcost.planning import compare, compare_networks, memory_of, plan_run, solution
from swatcost.report import render
from swatcost.simulation.simulation import simulate
from tests.by_hand import applies, everywhere


def there_and_back(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def last_layer(network: Network) -> Network:
    """Of one layer: simulating takes time."""
    return replace(network, layers=network.layers[-1:], amp=None)


RESULTS: dict[str, Callable[[Network], Any]] = {
    "network": lambda network: network,
    "estimate": lambda network: swatcost.estimate(network, weights=0.8),
    "estimate on an architecture": lambda network: swatcost.estimate(network, weights=0.8, device="bit-tactical"),
    "comparison": lambda network: compare(network, weights=0.8),
    "comparison of networks": lambda network: compare_networks([network, "cifar_vgg16"], weights=0.8),
    "memory": lambda network: memory_of(network, weights=0.8, acts=0.8),
    "solution": lambda network: solution(network, speedup=2),
    "plan of a run": lambda network: plan_run(network, weights=0.8),
    "simulation": lambda network: simulate(last_layer(network), weights=0.8),
    "2:4": two_four,
    "summary": lambda network: swatcost.summary(network, weights=0.8, method="rigl"),
    "explanation": lambda network: swatcost.explain(network, weights=0.8, method="rigl", to_convention="rigl"),
    "audit": lambda network: swatcost.audit(network, "71.37%", weights=0.8, acts=0.8, convention="exact"),
    "plan without power": lambda network: plan_run(network, weights=0.8, acts=0.8, device="xeon2"),
    "not measured": lambda network: swatcost.estimate(network, weights=0.8, acts=0.8, device="a100"),
}


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_comes_back_as_it_was(name: str) -> None:
    result = RESULTS[name](swatcost.load("cifar_resnet18"))
    again = there_and_back(result)
    assert again == result
    assert repr(again) == repr(result)
    assert again.to_dict() == result.to_dict()


@pytest.mark.parametrize("method", METHODS.names())
def test_an_estimate_by_any_method_comes_back_as_it_was(method: str) -> None:
    asked: dict[str, Any] = {name: 0.75 for name, operand in OPERANDS.items() if METHODS[method].uses(operand)}
    network = next(each for each in map(swatcost.load, ("resnet50", "vit_b_16")) if applies(method, each))
    estimate = swatcost.estimate(network, method=method, **asked, **everywhere(method))
    again = there_and_back(estimate)
    assert again == estimate
    assert again.setting.but(period=7).record() == estimate.setting.but(period=7).record()


@pytest.mark.parametrize("distribution", ["er", "erk", "uniform"])
def test_an_estimate_by_a_distribution_comes_back_as_it_was(distribution: str) -> None:
    estimate = swatcost.estimate("resnet50", weights=0.8, distribution=distribution)
    assert repr(there_and_back(estimate)) == repr(estimate)


def test_a_sweep_comes_back_as_it_was() -> None:
    swept = swatcost.sweep("cifar_resnet18", weights=[0.8, 0.9])
    assert there_and_back(swept).equals(swept)


@pytest.mark.parametrize("format", EXPORTS.names())
def test_an_export_comes_back_as_it_was(format: str) -> None:
    found = export(swatcost.estimate("cifar_resnet18", weights=0.8, batch_size=1), format)
    assert there_and_back(found) == found


def types_within(value: Any) -> set[type]:
    if isinstance(value, dict):
        return {dict}.union(*map(types_within, (*value, *value.values())))
    if isinstance(value, list | tuple):
        return {type(value)}.union(*map(types_within, value))
    return {type(value)}


@pytest.mark.parametrize("name", RESULTS)
def test_a_results_data_is_plain(name: str) -> None:
    """A note that may change a decision is a kind of string, which not every encoder knows."""
    result = RESULTS[name](swatcost.load("cifar_resnet18"))
    assert types_within(result.to_dict()) <= {dict, list, tuple, str, int, float, bool, type(None)}
    assert json.loads(render(result, "json"))


def test_an_error_of_a_forward_pass_reaches_another_process() -> None:
    with pytest.raises(swatcost.SwatcostError) as raised:
        swatcost.load("cifar_resnet18", input_shape=(3, 4))
    again = there_and_back(raised.value)
    assert isinstance(again, swatcost.SwatcostError)
    assert str(again) == str(raised.value)
