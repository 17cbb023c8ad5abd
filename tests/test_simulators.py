"""An exported ResNet-50 in the simulators it was exported for, each in an environment of its own. Slow."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import swatcost
from swatcost.exporting import export

pytestmark = pytest.mark.slow


_UNREACHABLE = (
    "NewConnectionError",
    "ConnectTimeoutError",
    "Temporary failure in name resolution",
    "Network is unreachable",
    "ProxyError",
)
"""How pip says that no package index answers."""


def _environment(folder: Path, *packages: str) -> Path:
    """A Python with the packages, or a skipped test where no package index can be reached."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    installed = subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if any(each in installed.stderr for each in _UNREACHABLE) and installed.returncode:
        pytest.skip(f"{packages[0]} cannot be installed offline")
    assert installed.returncode == 0, installed.stderr
    return python


_ZIGZAG = """
import os, sys, logging, zigzag
from zigzag.api import get_hardware_performance_zigzag
logging.disable(logging.CRITICAL)
inputs = os.path.join(os.path.dirname(zigzag.__file__), "inputs")
_, latency, costs = get_hardware_performance_zigzag(
    "resnet50.yaml", f"{inputs}/hardware/tpu_like.yaml", f"{inputs}/mapping/default.yaml", opt="latency",
    dump_folder="out", lpf_limit=4, nb_spatial_mappings_generated=1, loma_show_progress_bar=False,
)
print("RESULT", int(latency), sum(each[0].layer.total_mac_count for each in costs[0][1]))
"""


def test_zigzag_runs_resnet50(tmp_path: Path) -> None:
    python = _environment(tmp_path / "env", "zigzag-dse==3.9.1", "six")  # six: it is imported and not asked for
    found = export(swatcost.estimate("resnet50", weights=0.8, batch_size=1), "zigzag", bits=8)
    found.save(tmp_path / "resnet50.yaml")
    done = subprocess.run(
        [str(python), "-W", "ignore", "-c", _ZIGZAG], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    latency, macs = map(int, done.stdout.split("RESULT")[1].split())
    assert macs == sum(each.macs for each in found.workloads)
    assert latency >= macs / 32**2  # its array multiplies 32 × 32 a cycle


def test_scalesim_runs_resnet50_and_gains_from_n_of_m(tmp_path: Path) -> None:
    python = _environment(tmp_path / "env", "scalesim==3.0.0", "numpy<2")
    # all layers, on images of 32 × 32: SCALE-Sim walks every address
    resnet50 = swatcost.load("resnet50", input_shape=(3, 32, 32))
    convolutions = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.Conv2d(64, 128, 3))
    small = swatcost.trace(convolutions, input_shape=(64, 16, 16), name="small")
    quarter: dict[str, Any] = {"distribution": "nm", "source": "1:4", "first_layer": "sparse"}
    runs: dict[str, tuple[swatcost.Network, dict[str, Any]]] = {
        "whole": (resnet50, quarter), "dense": (small, {"method": "dense"}), "sparse": (small, quarter),
    }  # fmt: skip
    running = {}
    for name, (network, settings) in runs.items():
        export(swatcost.estimate(network, batch_size=1, **settings), "scalesim").save(tmp_path / name)
        command = [str(python), "-m", "scalesim.scale", "-c", f"{network.name}.cfg", "-p", "out", "-s", "N"]
        command += ["-t", f"{network.name}_topology.csv", "-l", f"{network.name}_layout.csv", "-i", "conv"]
        with (tmp_path / f"{name}.log").open("w") as log:
            running[name] = subprocess.Popen(command, cwd=tmp_path / name, stdout=log, stderr=log)
    cycles = {}
    for name, process in running.items():
        assert process.wait() == 0, (tmp_path / f"{name}.log").read_text()[-2000:]
        with next((tmp_path / name / "out").rglob("COMPUTE_REPORT.csv")).open() as file:
            rows = [{key.strip(): value for key, value in row.items() if key} for row in csv.DictReader(file)]
        assert len(rows) == len(runs[name][0].weight_layers)
        cycles[name] = sum(float(row[next(key for key in row if key.startswith("Total Cycles"))]) for row in rows)
    assert cycles["sparse"] < cycles["dense"]
