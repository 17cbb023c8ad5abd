"""Files of every kind that are not what they say: one line that names the file, exit code 2, and nothing written."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch import nn

import swatcost
from benchmarks.fuzz_files import damaged, failure, outcome
from benchmarks.fuzzed_files import KINDS, Kind
from swatcost.cli import main
from swatcost.common import reading
from swatcost.common.errors import SwatcostError, SwatcostWarning
from swatcost.common.record import read_record
from swatcost.distributions.checkpoint_files import read_checkpoint
from swatcost.distributions.tables import read_table
from swatcost.reference.data import samples
from tests.test_distributions import network_of

OF = {kind.name: kind for kind in KINDS}
NETWORK = network_of([(4, 4, 1, 1), (8, 4, 3, 3)])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a kind's undamaged files."""
    folders: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp("kind")
            with contextlib.redirect_stdout(None), contextlib.redirect_stderr(None):
                OF[name].make(folders[name])
        return folders[name]

    return make


@pytest.fixture(autouse=True)
def _unconfigured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWATCOST_CONFIG", "")


@pytest.fixture
def put(made: Callable[[str], Path], tmp_path: Path) -> Callable[[str, Any], Path]:
    """A copy of a kind's files in which its own file is another: bytes, or made by a function of its path."""

    def place(name: str, content: Any) -> Path:
        folder = tmp_path / "copy"
        shutil.copytree(made(name), folder)
        file = folder / OF[name].file
        file.unlink()
        file.write_bytes(content) if isinstance(content, bytes) else content(file)
        return folder

    return place


@contextlib.contextmanager
def few_bytes_at_once() -> Iterator[None]:
    """Limits memory, so that a file without an end would fail, not take the machine."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (16 * 2**30, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def link(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


NOT_FILES: dict[str, tuple[Any, str]] = {
    "a folder": (Path.mkdir, "Is a directory"),
    "a pipe": (os.mkfifo, "a device or a pipe"),
    "no end": (link("/dev/zero"), "a device or a pipe"),
    "full": (link("/dev/full"), "a device or a pipe"),
    "nowhere": (link("nowhere"), "No such file"),
    "a circle": (lambda path: path.symlink_to(path), "symbolic link"),
}
PLAIN = [each.name for each in KINDS if each.name not in ("cache entry", "study record", "resumed record", "images")]


@pytest.mark.parametrize("what", NOT_FILES)
@pytest.mark.parametrize("name", PLAIN)
def test_what_is_no_regular_file_is_not_opened(name: str, what: str, put: Callable[[str, Any], Path]) -> None:
    make, said = NOT_FILES[what]
    if name == "resumed checkpoint" and what in ("nowhere", "a circle"):
        pytest.skip("without a checkpoint a run begins again")
    with few_bytes_at_once():
        found = outcome(OF[name], put(name, make))
    assert (found.code, found.out, found.err.count("\n")) == (2, "", 1), found
    assert Path(OF[name].file).suffix in found.err
    # a saved estimate that cannot be read is not recognised as one, and a folder may be one of images
    assert said in found.err or name == "saved estimate" or (name, what) == ("arrays", "a folder")


TEXTS = [each.name for each in KINDS if each.file.endswith((".json", ".jsonl", ".toml", ".csv", ".yaml"))]


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe{\x00}\x00", b"\x00" * 99, b"[" * 100_000, b"\x80abc\n", b"{" * 3000, b"null\n", b"1e999\n",
     b'{"a": 1, "a": 1}\n'],
    ids=["empty", "utf-16", "zeros", "nested", "no utf-8", "braces", "null", "number", "twice"],
)  # fmt: skip
@pytest.mark.parametrize("name", [each for each in TEXTS if each not in ("cache entry", "study record")])
def test_text_of_another_kind(name: str, content: bytes, put: Callable[[str, Any], Path]) -> None:
    found = outcome(OF[name], put(name, content))
    if name == "config" and not content:
        assert found.code == 0  # a config file may be empty
        return
    assert (found.code, found.out, found.err.count("\n")) == (2, "", 1), found


@pytest.mark.parametrize("name", ["csv table", "trace", "yaml table", "device", "config"])
def test_files_have_a_largest_size(name: str, put: Callable[[str, Any], Path]) -> None:
    def large(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(200 * 2**20)  # more than any of these may have, and no byte on the disk

    found = outcome(OF[name], put(name, large))
    assert found.code == 2
    assert "it has 209,715,200 bytes, and the limit is" in found.err


@pytest.mark.parametrize("name", ["csv table", "json table", "yaml table", "trace", "device", "config", "record"])
def test_a_byte_order_mark_changes_nothing(
    name: str, made: Callable[[str], Path], put: Callable[[str, Any], Path]
) -> None:
    marked = put(name, b"\xef\xbb\xbf" + (made(name) / OF[name].file).read_bytes())
    before, after = (outcome(OF[name], folder) for folder in (made(name), marked))
    assert (before.code, after.code) == (0, 0)
    assert before.out.replace(str(made(name)), "") == after.out.replace(str(marked), "")


def test_a_file_that_changes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    path.write_text("layer,weights\nl0,0.5\n")
    os.utime(path, (0, 0))
    states = iter([os.stat(path), os.stat(path)])
    path.write_text("layer,weights\nl0,0.7\n")
    original = os.fstat
    monkeypatch.setattr(reading.os, "fstat", lambda number: next(states, None) or original(number))
    with pytest.raises(SwatcostError, match="it changed while it was read"):
        read_table(path)


@pytest.mark.skipif(os.getuid() == 0, reason="everything is readable for root")
def test_no_permission(tmp_path: Path) -> None:
    (tmp_path / "t.csv").touch(mode=0)
    with pytest.raises(SwatcostError, match=r"cannot read .*Permission denied"):
        read_table(tmp_path / "t.csv")


TABLES = [
    ("t.csv", "layer,weights\n{},{}\n"),
    ("t.json", '{{"{}": {}}}'),
    ("t.json", '{{"{}": {{"weights": {}}}}}'),
    ("t.yaml", "{}: {}\n"),
    ("t.yaml", "{}: {{weights: {}}}\n"),
]


@pytest.mark.parametrize(
    "value", ["1_0", "true", "0.5.5", "nan", "inf", "1e999", "-0.4", "1", "1.5", "0x0", "０.５", "0,5", '"0.5"',
              "[0.5]", "9" * 400]
)  # fmt: skip
@pytest.mark.parametrize(("name", "form"), TABLES)
def test_a_share_is_a_number_below_one(name: str, form: str, value: str, tmp_path: Path) -> None:
    if name == "t.csv" and value == '"0.5"':
        pytest.skip("quotes belong to CSV")
    path = tmp_path / name
    path.write_text(form.format("l0", "0.5"), encoding="utf-8")
    assert swatcost.estimate(NETWORK, distribution="file", source=path).layers[0].sparsity.weight == 0.5
    path.write_text(form.format("l0", value), encoding="utf-8")
    with pytest.raises(SwatcostError, match=name):
        swatcost.estimate(NETWORK, distribution="file", source=path)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.csv", "layer,weights\nl0,0.5\nl0,0.7\n", "line 3: the layer 'l0' stands there twice"),
        ("t.csv", "layer,weights,weights\nl0,0.5,0.7\n", "line 1: the column 'weights' stands there twice"),
        ("t.csv", "layer,weights\nl0,0.5,0.7\n", "line 2: 3 cells in 2 columns"),
        ("t.csv", "layer,weights\n,0.5\n", "line 2: its layer is missing"),
        ("t.csv", "layer,weights,act\nl0,0.5,0.7\n", "the column 'act' of 'l0': did you mean acts"),
        ("t.csv", 'layer,weights\n"l0,0.5\n', "unexpected end of data"),
        ("t.csv", "layer,weights\nl0,0.5\nl0.weight,0.7\n", "'l0' and 'l0.weight' are the same layer"),
        ("t.json", '{"l0": 0.5, "l0": 0.7}', "the key 'l0' stands there twice"),
        ("t.json", '{"l0": {"weights": 0.5, "weights": 0.7}}', "the key 'weights' stands there twice"),
        ("t.yaml", "l0: 0.5\nl0: 0.7\n", "the key 'l0' stands there twice"),
        ("t.yaml", "l0: !!float 0.5\n", "line 1: the tag 'tag:yaml.org,2002:float' is not read"),
        ("t.yaml", "l0: {<<: {weights: 0.5}}\n", "is not a number"),
        ("t.json", '{"a": ' * 40 + "1" + "}" * 40, "it is nested too deeply"),
    ],
)
def test_tables_with_something_twice_or_unknown(name: str, text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(SwatcostError) as refused:
        swatcost.estimate(NETWORK, distribution="file", source=tmp_path / name)
    assert said in str(refused.value)


@pytest.mark.parametrize("name", ["t.csv", "t.yaml"])
def test_a_table_whose_last_line_does_not_end(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text({"t.csv": "layer,weights\nl0,0.8", "t.yaml": "l0: 0.8"}[name])  # of 0.85, perhaps
    with pytest.warns(SwatcostWarning, match="its last line may be cut short"):
        swatcost.estimate(NETWORK, distribution="file", source=path)


def test_a_long_table_is_read_in_time(tmp_path: Path) -> None:
    network = network_of([(4, 4, 1, 1)] * 5000)  # 5,000 rows on 5,000 layers: 25 million pairs take a minute
    rows = "".join(f"l{number},0.5\n" for number in range(5000))
    (tmp_path / "t.csv").write_text("layer,weights\n" + rows)
    found = swatcost.estimate(network, distribution="file", source=tmp_path / "t.csv")
    assert {each.sparsity.weight for each in found.layers} == {0.5}


LINE = ("weight_sparsity", "act_sparsity", "default_act_sparsity", "momentum_share", "topk_seconds", "kept_bytes")


@pytest.mark.parametrize(
    ("where", "value"),
    [
        *(((1, "layers", 0, field), -0.4) for field in LINE),
        *(((1, "layers", 0, field), 1.5) for field in LINE[:3]),
        *(((1, field), -1) for field in ("step", "seconds", "accuracy", "saved_bytes")),
        ((1, "layers", 0, "macs", "forward"), -1),
        ((1, "layers", 0, "macs", "sideways"), 1),
        ((1, "accuracy"), True),
        ((1, "loss"), None),
        ((2, "step"), 0),
        ((2, "step"), 2),
        ((0, "steps"), 0),
        ((0, "weights"), ["0.weight"]),
        ((1, "colour"), 1),
    ],
)
def test_impossible_values_in_a_record(
    where: tuple[Any, ...], value: Any, made: Callable[[str], Path], tmp_path: Path
) -> None:
    lines = [json.loads(line) for line in (made("record") / "run.jsonl").read_text().splitlines()]
    content: Any = lines
    for key in where[:-1]:
        content = content[key]
    content[where[-1]] = value
    path = tmp_path / "run.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(SwatcostError, match=r"run\.jsonl is not .*record of a run: line \d"):
        read_record(path)


@pytest.mark.parametrize("change", [lambda lines: lines[:1] + lines, lambda lines: lines[:2] + lines[3:],
                                    lambda lines: lines[:2] + lines[1:], lambda lines: lines[1:],
                                    lambda lines: [*lines, lines[1]]])  # fmt: skip
def test_lines_of_a_record_that_are_lost_or_twice(change: Any, made: Callable[[str], Path], tmp_path: Path) -> None:
    lines = (made("record") / "run.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "run.jsonl").write_text("".join(change(lines)))
    with pytest.raises(SwatcostError, match=r"run\.jsonl"):
        read_record(tmp_path / "run.jsonl")


def test_a_record_that_is_cut_short_says_so(made: Callable[[str], Path], tmp_path: Path) -> None:
    content = (made("record") / "run.jsonl").read_bytes()
    lines = content.splitlines(keepends=True)
    (tmp_path / "run.jsonl").write_bytes(b"".join(lines[:4]) + lines[4][:20])
    with pytest.warns(SwatcostWarning, match="of an unfinished run: 3 of "):
        read_table(tmp_path / "run.jsonl")


def linear(tmp_path: Path, state: Any, name: str = "c.pt") -> dict[str, Any]:
    torch.save(state, tmp_path / name)
    network = swatcost.trace(nn.Linear(6, 4, bias=False), input_shape=(6,))
    return swatcost.estimate(network, distribution="checkpoint", source=tmp_path / name).to_dict()


class Opens:
    """What a pickle would run: it makes a file in the folder that is current when it is read."""

    def __reduce__(self) -> Any:
        return (open, ("was-here", "w"))


@pytest.mark.parametrize(
    ("weight", "said"),
    [
        (torch.ones(6, 4), "weight has the shape 6×4, not the network's 4×6: it is stored transposed"),
        (torch.ones(2, 12), "weight has the shape 2×12, not the network's 4×6"),
        (torch.ones(24), "weight has the shape 24, not the network's 4×6"),
        (torch.ones(5, 6), "weight has 30 elements, not the network's 24"),
        (torch.ones(1).expand(4, 6), "weight is an expanded view of fewer than 24 numbers"),
        (torch.ones(1).expand(10**7, 10**7), "weight has 100000000000000 elements"),
        (torch.full((4, 6), torch.nan), "numbers that are not finite"),
        (torch.ones(4, 6, dtype=torch.int64), "has no tensor called weight"),
        (Opens(), "it holds objects (builtins.open) that are not read"),
        (nn.Linear(6, 4), "it holds objects ("),
    ],
)
@pytest.mark.parametrize("protocol", [True, False])
def test_checkpoints_that_do_not_fit(
    weight: Any, said: str, protocol: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": weight}, tmp_path / "c.pt", _use_new_zipfile_serialization=protocol)
    network = swatcost.trace(nn.Linear(6, 4, bias=False), input_shape=(6,))
    with pytest.raises(SwatcostError) as refused:
        swatcost.estimate(network, distribution="checkpoint", source=tmp_path / "c.pt")
    said = said.replace("builtins.open", "") if isinstance(weight, Opens) else said
    assert all(part in str(refused.value) for part in said.split("()"))
    assert "weights_only" not in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not Path("was-here").exists()


def test_torchs_advice_is_not_passed_on(tmp_path: Path) -> None:
    with warnings.catch_warnings(action="ignore"):  # that scripting is deprecated
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "scripted.pt")
    (tmp_path / "random.pt").write_bytes(random.Random(0).randbytes(999))
    for path in tmp_path.iterdir():
        with pytest.raises(SwatcostError, match="it is damaged, or no file of tensors") as refused:
            read_checkpoint(path)
        assert "weights_only" not in str(refused.value)


def test_a_flipped_bit_of_a_weight_is_seen(tmp_path: Path) -> None:
    torch.save({"weight": torch.arange(24.0).view(4, 6)}, tmp_path / "c.pt")
    content = bytearray((tmp_path / "c.pt").read_bytes())
    content[bytes(content).index(numpy.float32(7).tobytes()) + 2] ^= 1
    (tmp_path / "c.pt").write_bytes(content)
    with pytest.raises(SwatcostError, match=r"its part '.*data/0' is damaged"):
        read_checkpoint(tmp_path / "c.pt")


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": numpy.ones((3, 4, 4)), "y": numpy.arange(4)}, "3 images and 4 labels"),
        ({"x": numpy.ones((3, 4, 4)), "y": numpy.array([0, 1, -1])}, "labels must be whole numbers from 0"),
        ({"x": numpy.ones((3, 4, 4)), "y": numpy.array([0, 1, 2**64 - 1], dtype="uint64")}, "labels must be"),
        ({"x": numpy.ones((3, 4, 4)), "y": numpy.array([0, 1, 10**9])}, "labels must be whole numbers"),
        ({"x": numpy.ones((3, 4, 4)), "y": numpy.array([True, False, True])}, "labels must be"),
        ({"x": numpy.full((3, 4, 4), 1e300), "y": numpy.arange(3)}, "not finite"),
        ({"x": numpy.ones(3), "y": numpy.arange(3)}, r"images of shape \(3,\)"),
        ({"x": numpy.ones(()), "y": numpy.arange(3)}, r"images of shape \(\)"),
        ({"x": numpy.ones((3, 0, 4)), "y": numpy.arange(3)}, "images of shape"),
        ({"x": numpy.array([b"a"] * 3), "y": numpy.arange(3)}, "are not numbers"),
        ({"x_train": numpy.ones((3, 4, 4)), "y_train": numpy.arange(3), "X_test": numpy.ones(1)}, "and no others"),
        ({"x_train": numpy.ones((3, 4, 4)), "y_train": numpy.arange(3), "x_test": numpy.ones(1)}, "and no others"),
        ({"x": numpy.zeros((2**16, 2**15), dtype="uint8"), "y": numpy.arange(3)}, "and the limit is"),
    ],
)  # fmt: skip
def test_arrays_that_are_no_data_set(
    arrays: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "limit" in said:
        monkeypatch.setattr("swatcost.reference.data._MOST_BYTES", 2**20)
        arrays["x"] = numpy.zeros((2, 1024, 1024), dtype="uint8")  # of 2 MiB, a thousandth of it packed
    numpy.savez_compressed(tmp_path / "d.npz", **arrays)
    with pytest.raises(SwatcostError, match=said):
        samples(str(tmp_path / "d.npz"), input_shape=(1, 4, 4), classes=None)


def test_images_that_are_no_files_are_not_opened(put: Callable[[str, Any], Path]) -> None:
    for make, said in NOT_FILES.values():
        folder = put("images", make)
        with pytest.raises(SwatcostError, match=said):
            samples(str(folder / "images"), input_shape=(1, 4, 4), classes=None)
        shutil.rmtree(folder)


def test_a_saved_estimate_adds_up(made: Callable[[str], Path], put: Callable[[str, Any], Path], capsys: Any) -> None:
    content = json.loads((made("saved estimate") / "saved.json").read_text())
    lost = {**content, "layers": content["layers"][1:]}
    folder = put("saved estimate", json.dumps(lost).encode())
    assert main(["compare", str(folder / "saved.json"), str(folder / "other.json")]) == 2
    assert "its layers' macs.forward.dense add up to" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [each for each in KINDS if each.weight >= 1], ids=lambda each: each.name)
def test_damaged_files(kind: Kind, made: Callable[[str], Path]) -> None:
    """A second of the fuzz, which `python -m benchmarks.fuzz_files` runs for as long as is asked."""
    folder = made(kind.name)
    content, before = (folder / kind.file).read_bytes(), outcome(kind, folder)
    assert before.code == 0, before
    versions = damaged(content, random.Random(kind.name))
    try:
        for _ in range(25):
            how, changed = next(versions)
            (folder / kind.file).write_bytes(changed)
            assert not failure(kind, before, outcome(kind, folder), content, changed), (how, changed)
    finally:
        (folder / kind.file).write_bytes(content)
