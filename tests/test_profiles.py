"""Profiles of devices and architectures: one loader, which refuses what it does not know."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

import swatcost
from swatcost.accelerator import architecture_names, load_architecture
from swatcost.accelerator.architecture import architecture_named
from swatcost.cli import main
from swatcost.common.errors import SwatcostError
from swatcost.devices import device_names, load_device

RTX = (files("swatcost.devices") / "rtx2080ti.toml").read_text()
XEON = (files("swatcost.devices") / "xeon2.toml").read_text()
TACTICAL = (files("swatcost.accelerator") / "bit-tactical.toml").read_text()

MISSPELT: list[tuple[str, str, str, str, str]] = [
    (RTX, "watts", "wats", "", "watts"),
    (RTX, "[topk.weights]", "[topk.wieghts]", " in topk", "weights"),
    (RTX, "seconds = 0.018", "second = 0.018", " in topk.weights", "seconds"),
    (RTX, "seconds = 0.018", "seconds = 0.018\nsecnd = 1", " in topk.weights", "seconds"),
    (RTX, "batch_size", "batchsize", " in dense_steps 1", "batch_size"),
    (XEON, "[rates]", "[rate]", "", "rates"),
    (XEON, "worst_residual = 0.050333035506181956", "worst = 0.05", " in rates", "worst_residual"),
    (TACTICAL, "clock", "clok", "", "clock"),
    (TACTICAL, "lookaside", "look_aside", " in shape", "lookaside"),
]


@pytest.mark.parametrize(("text", "right", "wrong", "place", "meant"), MISSPELT)
def test_a_misspelt_key_is_named_at_every_depth(
    text: str, right: str, wrong: str, place: str, meant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert right in text
    mine = tmp_path / "mine.toml"
    mine.write_text(text.replace(right, wrong))
    load: Callable[[Path], Any] = load_architecture if text is TACTICAL else load_device
    key = wrong.split("\n")[-1].split(" ")[0].strip("[]").split(".")[-1]
    with pytest.raises(SwatcostError) as refused:
        load(mine)
    kind = "architecture" if text is TACTICAL else "device profile"
    assert f"mine.toml is not a usable {kind}: '{key}'{place}: did you mean {meant}" in str(refused.value)
    assert main(["cifar_resnet18", "--device", str(mine)]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert str(refused.value) in captured.err


@pytest.mark.parametrize("load", [load_device, load_architecture])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe", "it is not UTF-8 text"),
        (b"", "missing required field"),
        (b"name = {a = 1}", "Expected `str`, got `object`"),
        (b"lanes = " + b"[" * 100_000, "not a usable"),
    ],
)
def test_what_is_not_a_profile_is_refused_in_one_line(
    load: Callable[[Path], Any], content: bytes, said: str, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_bytes(content)
    with pytest.raises(SwatcostError, match=said) as refused:
        load(mine)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("load", "text", "table"),
    [
        (load_device, "topk = 3\n" + RTX.split("[topk")[0], "topk"),
        (load_device, RTX.replace("[[dense_steps]]", "[dense_steps]"), "dense_steps"),
        (load_architecture, TACTICAL.split("[shape]")[0] + "shape = 3", "shape"),
    ],
)
def test_a_value_where_a_table_belongs(load: Callable[[Path], Any], text: str, table: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(SwatcostError, match=rf"Expected .*{table}"):
        load(tmp_path / "mine.toml")


def test_a_folder_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").mkdir()
    for load in (load_device, load_architecture):
        with pytest.raises(SwatcostError, match=r"cannot read .*mine\.toml: Is a directory"):
            load(tmp_path / "mine.toml")
    with pytest.raises(SwatcostError, match=r"cannot read .*mine\.toml: Is a directory"):
        swatcost.estimate("resnet50", device=tmp_path / "mine.toml")


def test_a_device_is_a_profile_or_an_architecture(tmp_path: Path) -> None:
    assert [architecture_named(name) for name in device_names()] == [None] * len(device_names())
    for name in architecture_names():
        assert architecture_named(name) == load_architecture(name)
    (tmp_path / "mine.toml").write_text(TACTICAL)
    (tmp_path / "other.toml").write_text(RTX)
    assert architecture_named(tmp_path / "mine.toml") == load_architecture("bit-tactical")
    assert architecture_named(str(tmp_path / "other.toml")) is None
    assert architecture_named(tmp_path / "none.toml") is None
