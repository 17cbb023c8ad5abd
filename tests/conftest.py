"""What several tests need: traced networks of the zoo, each once, and small modules."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import hypothesis
import pytest
import torch
from swatcost_models import ZOO
from torch import nn

import swatcost

hypothesis.settings.register_profile("any machine", deadline=None)  # a slow one is no fault of a property
hypothesis.settings.load_profile("any machine")

SMALL = """
from torch import nn

def build(num_classes=10):
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.Dropout(0.1),
        nn.Flatten(), nn.Linear(16 * 16, num_classes),
    )
"""

ZOO_NAMES = list(ZOO)


@cache
def zoo_network(name: str) -> swatcost.Network:
    return swatcost.load(name)


def zoo_module(name: str) -> nn.Module:
    """The module itself, on the meta device, in training mode."""
    with torch.device("meta"):
        return ZOO[name].build()


def zoo_input(name: str, batch: int) -> torch.Tensor:
    """A batch of what the network takes, on the meta device."""
    dtype = getattr(torch, ZOO[name].input_dtype or "float32")
    return torch.empty(batch, *ZOO[name].input_shape, device="meta", dtype=dtype)


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


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A network that trains on digits in seconds, as a specification that is valid in the test's folder."""
    (tmp_path / "small.py").write_text(SMALL)
    monkeypatch.chdir(tmp_path)
    return "small.py:build"


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For kernels: threads that wait for each other take minutes where processors are busy."""
    import numba

    before = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    yield
    torch.set_num_threads(before[0])
    numba.set_num_threads(before[1])
