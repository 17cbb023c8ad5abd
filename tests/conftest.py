"""What several tests need: traced networks of the zoo, each once, and small modules."""

from __future__ import annotations

import os
from functools import cache

import hypothesis
import pytest
import torch
from swatcost_models import ZOO
from torch import nn

import swatcost

hypothesis.settings.register_profile("any machine", deadline=None)  # a slow one is no fault of a property
hypothesis.settings.load_profile("any machine")

ZOO_NAMES = list(ZOO)


@cache
def zoo_network(name: str) -> swatcost.Network:
    return swatcost.load(name)


def zoo_module(name: str) -> nn.Module:
    """The module itself, on the meta device, in training mode."""
    with torch.device("meta"):
        return ZOO[name].build()


@pytest.fixture(params=ZOO_NAMES)
def zoo_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def resnet50() -> swatcost.Network:
    return zoo_network("resnet50")


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traces are not kept outside of the tests that are about it, and nobody's own defaults matter."""
    for variable in [each for each in os.environ if each.startswith("SWATCOST_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("SWATCOST_CONFIG", "")
    monkeypatch.setenv("SWATCOST_CACHE_DIR", "")


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A saved ResNet-50, so that commands need not trace it."""
    path = tmp_path_factory.mktemp("traces") / "resnet50.json"
    swatcost.load("resnet50").save(path)
    return str(path)


@pytest.fixture
def trained() -> tuple[swatcost.Network, nn.Module]:
    """Two linear layers with values, traced, and their module."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 4, bias=False))
    return swatcost.trace(module, input_shape=(8,)), module
