"""Comparing networks, methods under conventions, and saved estimates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import swatcost
from swatcost.cli import cli
from swatcost.common.errors import SwatcostError
from swatcost.network import Network
from swatcost.planning import compare, compare_networks, difference
from swatcost.planning.difference import saved_estimates


def _save(estimate: swatcost.Estimate, path: Path) -> Path:
    path.write_text(json.dumps(estimate.to_dict()))
    return path


def test_an_estimate_differs_from_itself_in_nothing(tmp_path: Path, resnet50: Network) -> None:
    one = _save(swatcost.estimate(resnet50, weights=0.8, acts=0.8), tmp_path / "one.json")
    found = difference(one, one)
    assert (found.settings, found.totals, found.layers, found.alike) == ({}, {}, (), 54)


def test_one_layer_changed(tmp_path: Path, resnet50: Network) -> None:
    first = swatcost.estimate(resnet50, weights=0.8, acts=0.8)
    second = swatcost.estimate(resnet50, weights=0.8, acts=0.8, keep_dense=["layer4.2.conv3"])
    found = difference(_save(first, tmp_path / "1.json"), _save(second, tmp_path / "2.json"))
    (changed,) = found.layers
    assert changed.name == "layer4.2.conv3"
    # 512 · 2048 · 7 · 7 MACs in each pass, of which 0.8 come back
    assert changed.added_macs == pytest.approx(3 * 0.8 * 512 * 2048 * 49)
    assert found.alike == 53
    before, after = found.totals["macs.training.sparse"]
    assert after - before == pytest.approx(changed.added_macs)


def test_other_networks_have_other_layers(tmp_path: Path, resnet50: Network) -> None:
    one = _save(swatcost.estimate(resnet50), tmp_path / "1.json")
    other = _save(swatcost.estimate("cifar_resnet18"), tmp_path / "2.json")
    found = difference(one, other)
    assert found.settings["model"] == ("resnet50", "cifar_resnet18")
    assert {each.name for each in found.layers if each.second is None} >= {"layer4.2.conv3"}


def test_what_only_one_of_them_has_is_a_change(tmp_path: Path, resnet50: Network) -> None:
    plain = _save(swatcost.estimate(resnet50, weights=0.8, acts=0.8), tmp_path / "1.json")
    spared = _save(swatcost.estimate(resnet50, weights=0.8, acts=0.8, one_sample=True), tmp_path / "2.json")
    # rigl counts no sparse activations: selecting them never pays
    never = _save(swatcost.estimate(resnet50, acts=0.8, convention="rigl"), tmp_path / "3.json")
    # Table 10: 18 ms of weights; 452 ms of activations of 32 samples, of which one is left
    first, second = difference(plain, spared).totals["topk_seconds_by_idea.one sample"]
    assert first is None
    assert second == pytest.approx(0.018 + 0.452 / 32)
    assert difference(plain, never).totals["break_even_period"] == (5, None)
    assert repr(difference(plain, spared)).count("none") == 1


def test_a_number_beyond_all_numbers_is_named(tmp_path: Path, resnet50: Network) -> None:
    content = swatcost.estimate(resnet50).to_dict()
    content["totals"]["speedup"] = 10**400
    (tmp_path / "1.json").write_text(json.dumps(content))
    with pytest.raises(SwatcostError, match=r"1\.json is not a usable saved estimate"):
        difference(tmp_path / "1.json", tmp_path / "1.json")


def test_the_command_knows_saved_estimates(tmp_path: Path, resnet50: Network) -> None:
    one = _save(swatcost.estimate(resnet50, weights=0.8), tmp_path / "1.json")
    other = _save(swatcost.estimate(resnet50, weights=0.9), tmp_path / "2.json")
    resnet50.save(tmp_path / "trace.json")
    assert saved_estimates([one, one]) == (one, one)
    assert saved_estimates([str(tmp_path / "trace.json")]) is None
    done = CliRunner().invoke(cli, ["compare", str(one), str(other)])
    assert done.exit_code == 0
    assert "53 of 54 layers differ" in done.stdout
    alone = CliRunner().invoke(cli, ["compare", str(one)])
    assert isinstance(alone.exception, SwatcostError)
    asked = CliRunner().invoke(cli, ["compare", str(one), str(other), "--from", "x"])
    assert str(asked.exception) == "--from: saved estimates are compared as they are, leave it out"
    with_trace = CliRunner().invoke(cli, ["compare", str(tmp_path / "trace.json"), "--weights", "0.9"])
    assert with_trace.exit_code == 0


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"schema": "swatcost.estimate/1"}', '{"schema": "swatcost.trace/3"}']
)
def test_damaged_files_are_named(content: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(SwatcostError, match=r"bad\.json is not a usable saved estimate"):
        difference(path, path)
    with pytest.raises(SwatcostError, match="cannot read"):
        difference(tmp_path / "none.json", path)


def test_the_matrix_is_each_methods_estimate(resnet50: Network) -> None:
    found = compare(resnet50, weights=0.9, methods=["swat", "swat-structured", "rigl", "dsg", "pruning", "snfs"])
    for method, convention in (("rigl", "exact"), ("dsg", "equations"), ("swat", "rigl")):
        targets = {"swat": {"weights": 0.9, "acts": 0.9}, "rigl": {"weights": 0.9}, "dsg": {"grads": 0.9}}[method]
        one = swatcost.estimate(resnet50, method=method, convention=convention, **targets)  # type: ignore[arg-type]
        assert found.estimates[method][convention].costs == one.costs
    best, methods = found.ranked("swat")[0]
    assert methods == ["swat", "swat-structured"]
    assert best == pytest.approx(0.8563, abs=5e-5)  # Table 3: 85.6 %
    assert found.ranked("rigl")[0][1] == ["rigl"]


def test_networks_side_by_side(resnet50: Network) -> None:
    found = compare_networks([resnet50, "wide_resnet50_2"], weights=0.9)
    assert found.by_network["wide_resnet50_2"]["swat"].training_reduction == pytest.approx(0.8839, abs=5e-5)  # 88.4 %
    with pytest.raises(SwatcostError, match="twice"):
        compare_networks([resnet50, "resnet50"], weights=0.9)


def test_a_method_is_left_out_of_the_network_that_refuses_it_alone() -> None:
    # ERK at 95 % leaves less than what SET keeps dense in ResNet-50; VGG-16 has no such layers
    found = compare_networks(
        ["cifar_vgg16", "resnet50"], weights=0.95, distribution="erk", methods=["set", "dsr", "rigl"]
    )
    assert "set" in found.by_network["cifar_vgg16"]
    assert set(found.refused) == {"set on resnet50", "dsr on resnet50"}
    assert "set on resnet50 is left out" in repr(found)
