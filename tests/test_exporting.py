"""Exports: the loops' work is the estimate's, and each format says what it can."""

from __future__ import annotations

import csv
import io

import pytest
import yaml
from click.testing import CliRunner
from torch import nn

import swatcost
from swatcost.cli import cli
from swatcost.common.errors import SwatcostError
from swatcost.exporting import EXPORTS, export
from swatcost.network.passes import PASSES

NETWORKS = {
    "strided": (nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Conv2d(8, 12, 5, groups=4)), (3, 17, 15)),
    "dilated": (nn.Conv2d(4, 6, 3, dilation=2, stride=(1, 2)), (4, 12, 11)),
    "1-D": (nn.Conv1d(4, 6, 3, stride=2), (4, 21)),
    "3-D": (nn.Conv3d(2, 4, 3), (2, 5, 6, 7)),
    "transposed": (nn.ConvTranspose2d(6, 4, 3, stride=2, groups=2), (6, 5, 4)),
    "linear": (nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.ReLU(), nn.Linear(7, 3)), (3, 4)),
    "tokens": (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (5, 8)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_work_is_that_of_the_exact_convention_in_every_pass(name: str) -> None:
    module, shape = NETWORKS[name]
    network = swatcost.trace(module, input_shape=shape)
    estimate = swatcost.estimate(network, method="dense", convention="exact", batch_size=3)
    found = export(estimate, "csv", passes=PASSES)
    for in_pass in PASSES:
        counted = getattr(estimate.exact, in_pass).dense * 3
        exported = sum(each.macs for each in found.workloads if each.in_pass == in_pass)
        if name == "tokens":  # products' two gradients are counted with grad_input
            continue
        assert exported == counted
    assert sum(each.macs for each in found.workloads) == estimate.exact.training.dense * 3


def test_a_convolution_by_hand() -> None:
    network = swatcost.trace(nn.Conv2d(4, 6, 3, stride=2, padding=1), input_shape=(4, 9, 9))
    (found,) = export(swatcost.estimate(network, weights=0.75, first_layer="sparse", batch_size=1), "csv").workloads
    # out = (9 + 2 - 3) / 2 + 1 = 5; rows that are read: (5 - 1) · 2 + 3 = 11 = 9 + 2 padded
    assert (found.OY, found.OX, found.FY, found.padded_input) == (5, 5, 3, (11, 11))
    assert found.macs == 5 * 5 * 3 * 3 * 4 * 6
    assert (found.weight_density, found.input_density) == (0.25, 1.0)


def test_a_transposed_convolution_by_hand() -> None:
    network = swatcost.trace(nn.ConvTranspose2d(6, 4, 3, stride=2, groups=2), input_shape=(6, 5, 4))
    found = export(swatcost.estimate(network, method="dense", batch_size=3), "csv", passes=("forward", "grad_weight"))
    forward, grad_weight = found.workloads
    # each of 3 · 5 · 4 input positions meets, in each of 2 groups, 6 / 2 channels of 4 / 2 filters · 3 · 3 weights
    assert (forward.B, forward.G, forward.C, forward.K) == (60, 2, 3, 18)
    assert (grad_weight.B, grad_weight.G, grad_weight.C, grad_weight.K) == (3, 2, 60, 18)


def test_each_pass_has_the_densities_of_its_operands() -> None:
    estimate = swatcost.estimate("cifar_resnet18", weights=0.8, acts=0.6, batch_size=1)
    found = {each.in_pass: each for each in export(estimate, "csv", passes=PASSES).workloads if each.layer == "fc"}
    assert found["forward"].weight_density == pytest.approx(0.2)
    assert found["forward"].input_density == 1  # SWAT's forward pass reads every activation
    assert found["grad_input"].weight_density == pytest.approx(0.2)
    assert found["grad_weight"].input_density == pytest.approx(0.4)
    assert found["grad_weight"].weight_density == 1  # the gradient of the output is dense


def _resnet(**settings: object) -> swatcost.Estimate:
    return swatcost.estimate("resnet50", batch_size=1, **settings)  # type: ignore[arg-type]


def test_scalesim_reads_what_its_parser_reads() -> None:
    found = export(_resnet(distribution="nm", source="1:4"), "scalesim")
    header, *rows = found.files["resnet50_topology.csv"].splitlines()
    assert header.count(",") == 9
    macs = 0
    for row in rows:  # as topology_utils.py: the last comma ends the row, one stride for both directions
        name, *sizes, sparsity = row.split(",")[:-1]
        height, width, tall, wide, channels, filters, stride = map(int, sizes)
        macs += ((height - tall) // stride + 1) * ((width - wide) // stride + 1) * tall * wide * channels * filters
        assert sparsity.strip() == ("1:1" if name == "conv1" else "1:4")
    assert len(rows) == 54
    assert macs == sum(each.macs for each in found.workloads)
    layout = found.files["resnet50_layout.csv"].splitlines()
    assert len(layout) == 55
    assert {line.count(",") for line in layout} == {21}
    assert "SparsitySupport = true" in found.files["resnet50.cfg"]


def test_scalesim_says_what_it_cannot() -> None:
    found = export(_resnet(weights=0.8), "scalesim")
    assert any("layer1.0.conv1" in each and "dense" in each for each in found.notes)
    assert "SparsitySupport = false" in found.files["resnet50.cfg"]
    grouped = swatcost.trace(nn.Conv2d(8, 8, 3, groups=4), input_shape=(8, 6, 6))
    files = export(swatcost.estimate(grouped, batch_size=1), "scalesim").files
    (text,) = (text for name, text in files.items() if name.endswith("_topology.csv"))
    assert len(text.splitlines()) == 1 + 4


def test_zigzag_loops_multiply_to_the_work() -> None:
    found = export(_resnet(weights=0.8), "zigzag", bits=8)
    layers = yaml.safe_load(found.files["resnet50.yaml"])
    for layer, workload in zip(layers, found.workloads, strict=True):
        product = 1
        for size in layer["loop_sizes"]:
            product *= size
        assert product == workload.macs
        assert set(layer["loop_dims"]) <= {letter.upper() for letter in _letters(layer["equation"])}
    assert layers[0]["operand_precision"] == {"W": 8, "I": 8, "O": 16, "O_final": 8}
    assert any("no sparsity" in each for each in found.notes)


def _letters(equation: str) -> set[str]:
    return {part.split("]")[0] for part in equation.split("[")[1:]}


def test_timeloop_says_which_operand_is_sparse_and_how() -> None:
    found = export(_resnet(weights=0.8), "timeloop")
    assert len(found.files) == 54
    problem = yaml.safe_load(found.files["01_layer1_0_downsample_0.yaml"])["problem"]
    assert problem["instance"]["densities"] == {"Weights": {"distribution": "hypergeometric", "density": 0.2}}
    assert problem["instance"]["M"] == 256
    first = yaml.safe_load(found.files["00_conv1.yaml"])["problem"]
    assert "densities" not in first["instance"]  # the first layer is dense
    assert first["instance"]["Pstride"] == 2
    patterned = export(_resnet(distribution="nm", source="2:4"), "timeloop").files["01_layer1_0_downsample_0.yaml"]
    assert yaml.safe_load(patterned)["problem"]["instance"]["densities"]["Weights"] == {
        "distribution": "fixed-structured", "density": 0.5,
    }  # fmt: skip


def test_maestro_has_one_entry_per_layer() -> None:
    text = export(_resnet(weights=0.8), "maestro").files["resnet50.m"]
    assert text.count("Layer ") == 54
    assert text.count("{") == text.count("}")
    assert "Dimensions { N: 1, K: 64, C: 3, R: 7, S: 7, Y: 229, X: 229 }" in text  # (112 - 1) · 2 + 7 = 229


def test_csv_has_one_row_per_layer_and_pass() -> None:
    found = export(_resnet(weights=0.8, acts=0.8), "csv", passes=PASSES)
    rows = list(csv.DictReader(io.StringIO(next(iter(found.files.values())))))
    assert len(rows) == 54 * 3 - 1  # the first layer's input needs no gradient
    assert {row["pass"] for row in rows} == set(PASSES)


def test_what_has_no_loops_is_named() -> None:
    with pytest.raises(SwatcostError, match="unknown export format 'scale'"):
        export(_resnet(), "scale")
    with pytest.raises(SwatcostError, match="passes sideways"):
        export(_resnet(), "csv", passes=("sideways",))  # type: ignore[arg-type]


def test_the_command_leaves_a_whole_folder_or_none(tmp_path) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "out"
    arguments = ["export", "resnet50", "--weights", "0.8", "--to", "scalesim", "--output", str(folder)]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0
    assert sorted(each.name for each in folder.iterdir()) == [
        "resnet50.cfg", "resnet50_layout.csv", "resnet50_topology.csv",
    ]  # fmt: skip
    again = CliRunner().invoke(cli, arguments)
    assert isinstance(again.exception, SwatcostError)
    assert "exists already" in str(again.exception)
    with pytest.raises(SwatcostError, match="cannot write"):
        export(_resnet(), "scalesim").save(tmp_path / "no" / "such" / "folder")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out"]


def test_every_format_is_described() -> None:
    assert EXPORTS.names() == ["scalesim", "zigzag", "timeloop", "maestro", "csv"]
