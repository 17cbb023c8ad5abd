"""The kinds of file that swatcost reads: how an undamaged one is made, and the command that reads it."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy
import torch
from safetensors.torch import save_file
from torch import nn

import swatcost
from swatcost.cli import main
from swatcost.common.errors import SwatcostError

NETWORK = "from benchmarks.fuzzed_files import small as build\n"


def small(num_classes: int = 3) -> nn.Module:
    """A network with a convolution, a normalisation and two linear layers."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 8), nn.ReLU(),
        nn.Linear(8, num_classes),
    )  # fmt: skip


@cache
def _trace() -> str:
    return swatcost.trace(small(), input_shape=(1, 4, 4), name="small").to_json()


@dataclass(frozen=True)
class Kind:
    """A kind of file: `make` writes an undamaged one, called `file`, into a folder, and `ask` has a command read it.

    A `sealed` file holds checksums, so that every change of a byte is seen. `fixed_keys` are not names of the user's.
    `weight` is how often it is tried, in proportion.
    """

    name: str
    file: str
    make: Callable[[Path], object]
    ask: Callable[[Path], int]
    sealed: bool = False
    fixed_keys: bool = False
    weight: float = 1


def _estimating(file: str, *words: str) -> Callable[[Path], int]:
    """An estimate of the small network whose last words are an option and the file."""

    def ask(folder: Path) -> int:
        (folder / "net.json").exists() or (folder / "net.json").write_text(_trace())
        network = file if file.endswith("trace.json") else "net.json"
        option = [] if network == file else [*words, str(folder / file)]
        return main([str(folder / network), "--format", "json", *option])

    return ask


def _text(file: str, text: str | Callable[[], str]) -> Callable[[Path], object]:
    return lambda folder: (folder / file).write_text(text if isinstance(text, str) else text())


def _saved(**setting: Any) -> str:
    return json.dumps(
        swatcost.estimate(swatcost.trace(small(), input_shape=(1, 4, 4), name="small"), **setting).to_dict()
    )


def _make_saved(folder: Path) -> None:
    (folder / "saved.json").write_text(_saved(weights=0.8))
    (folder / "other.json").write_text(_saved(weights=0.9))


def _ask_saved(folder: Path) -> int:
    return main(["compare", str(folder / "saved.json"), str(folder / "other.json"), "--format", "json"])


def _state() -> dict[str, Any]:
    torch.manual_seed(0)
    module = small()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    module(torch.randn(2, 1, 4, 4)).sum().backward()
    optimizer.step()
    return {"model": module.state_dict(), "optimizer": optimizer.state_dict()}


def _run(folder: Path) -> None:
    """The record of a finished run of seven steps, and its checkpoint."""
    (folder / "small.py").write_text(NETWORK)
    main(
        ["run", f"{folder}/small.py:build", "--input-shape", "1,4,4", "--weights", "0.5", "--acts", "0.5",
         "--batch-size", "16", "--data", "synthetic", "--epochs", "0.3", "--record-every", "1",
         "--output", str(folder / "run.jsonl"), "--quiet"]
    )  # fmt: skip


def _copy(file: Path, place: Path) -> None:
    """Copies a regular file that a command writes to, and links to anything else, such as a pipe without an end."""
    place.unlink(missing_ok=True)
    shutil.copy(file, place) if file.is_file() else place.symlink_to(file)


def _resumed(folder: Path) -> int:
    """Resumes a copy of the run, and prints what came of it but for times."""
    for suffix in (".jsonl", ".pt"):
        _copy(folder / f"run{suffix}", folder / f"used{suffix}")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = main(["run", "--resume", str(folder / "used.jsonl"), "--format", "json"])
    print(re.sub(r'"(seconds|topk_seconds|step_seconds)": [^,\n]*', "", printed.getvalue()), end="")
    return code


def _interrupted(folder: Path) -> None:
    """The record and checkpoint of a run that stopped after three of seven steps."""
    _run(folder)
    from swatcost.common.record import cut, read_record
    from swatcost.reference import training
    from swatcost.reference.run_settings import settings_of

    record = folder / "run.jsonl"
    header = read_record(record).header
    state = training._Training.prepared(settings_of(header, record), folder / "part.jsonl")
    with training.Writer(folder / "part.jsonl", state.header()) as writer:
        state.settings = dataclasses.replace(state.settings, steps=3)
        state.train(writer, lambda progress: None)
    cut(record, 3)
    shutil.copy(folder / "part.pt", folder / "run.pt")


@contextlib.contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _ask_config(folder: Path) -> int:
    with _environment(SWATCOST_CONFIG=str(folder / "config.toml")):
        return main(["resnet18", "--format", "json"])


def _ask_cached(folder: Path) -> int:
    with _environment(SWATCOST_CACHE_DIR=str(folder / "kept")):
        return main([f"{folder}/small.py:build", "--input-shape", "1,4,4", "--format", "json"])


def _make_cached(folder: Path) -> None:
    """An entry, under a name that does not depend on the machine: the cache finds it by a link."""
    (folder / "small.py").write_text(NETWORK)
    _ask_cached(folder)
    (entry,) = (folder / "kept").glob("*.json")
    shutil.copy(entry, folder / "entry.json")
    (folder / "name").write_text(entry.name)


def _ask_entry(folder: Path) -> int:
    _copy(folder / "entry.json", folder / "kept" / (folder / "name").read_text())
    return _ask_cached(folder)


def _ask_study(folder: Path) -> int:
    _copy(folder / "study.jsonl", folder / "used.jsonl")
    (folder / "net.json").exists() or (folder / "net.json").write_text(_trace())
    words = ["--weights", "0.5,0.8", "--jobs", "1", "--record", str(folder / "used.jsonl"), "--format", "json"]
    return main(["study", str(folder / "net.json"), *words])


def _make_study(folder: Path) -> None:
    (folder / "study.jsonl").touch()
    _ask_study(folder)
    shutil.copy(folder / "used.jsonl", folder / "study.jsonl")


def _ask_samples(source: str) -> Callable[[Path], int]:
    def ask(folder: Path) -> int:
        from swatcost.reference.data import samples

        try:
            found = samples(str(folder / source), input_shape=(1, 4, 4), classes=None)
        except SwatcostError as error:
            print(f"swatcost: {error}", file=sys.stderr)
            return 2
        print(found.classes, found.images.tolist(), found.labels.tolist(), found.test_images.tolist())
        return 0

    return ask


def _make_images(folder: Path) -> None:
    from PIL import Image

    for label in ("a", "b"):
        (folder / "images" / label).mkdir(parents=True)
        for number in range(5):
            pixels = numpy.random.default_rng(number).integers(0, 255, (6, 6, 3), dtype=numpy.uint8)
            Image.fromarray(pixels).save(folder / "images" / label / f"{number}.png")


def _make_onnx(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the older exporter, which is faster, says that there is a newer one
        torch.onnx.export(small(), (torch.zeros(2, 1, 4, 4),), str(folder / "net.onnx"), dynamo=False)


def _resource(room: str, name: str, file: str) -> Callable[[Path], object]:
    return _text(file, lambda: (files(room) / name).read_text(encoding="utf-8"))


_TABLE = ["file", "--from"]
_RECORD = {"make": _run, "fixed_keys": True}
_ARRAYS = {"x": numpy.arange(320, dtype=numpy.uint8).reshape(20, 4, 4), "y": numpy.arange(20) % 3}
_ROWS = {"0": {"weights": 0.25, "acts": 0.5}, "4*": {"weights": 0.75}, "6.weight": {"weights": 0.5}}

KINDS = (
    Kind("trace", "trace.json", _text("trace.json", _trace), _estimating("trace.json"), fixed_keys=True, weight=3),
    Kind("saved estimate", "saved.json", _make_saved, _ask_saved, weight=2),
    Kind("csv table", "t.csv", _text("t.csv", "layer,weights,acts\n0,0.25,0.5\n4*,0.75,\n6.weight,0.5,\n"),
         _estimating("t.csv", "--distribution", *_TABLE)),
    Kind("json table", "t.json", _text("t.json", json.dumps(_ROWS)), _estimating("t.json", "--distribution", *_TABLE)),
    Kind("yaml table", "t.yaml", _text("t.yaml", '"0": {weights: 0.25, acts: 0.5}\n4*: 0.75\n6.weight: 0.5\n'),
         _estimating("t.yaml", "--distribution", *_TABLE)),
    Kind("shares", "t.csv", _text("t.csv", "layer,share\n0,0.2\n4,0.5\n6,0.3\n"),
         _estimating("t.csv", "--weights", "0.5", "--distribution", "momentum", "--from")),
    Kind("record", "run.jsonl", ask=_estimating("run.jsonl", "--default-act-sparsity"), weight=2, **_RECORD),
    Kind("record as shares", "run.jsonl",
         ask=_estimating("run.jsonl", "--weights", "0.5", "--distribution", "momentum", "--from"), **_RECORD),
    Kind("record as table", "run.jsonl", ask=_estimating("run.jsonl", "--distribution", *_TABLE), **_RECORD),
    Kind("resumed record", "run.jsonl", _interrupted, _resumed, fixed_keys=True, weight=0.5),
    Kind("resumed checkpoint", "run.pt", _interrupted, _resumed, sealed=True, weight=0.5),
    Kind("device", "d.toml", _resource("swatcost.devices", "h100.toml", "d.toml"), _estimating("d.toml", "--device"),
         fixed_keys=True),
    Kind("architecture", "a.toml", _resource("swatcost.accelerator", "bit-tactical.toml", "a.toml"),
         _estimating("a.toml", "--device"), fixed_keys=True),
    Kind("config", "config.toml", _text("config.toml", 'device = "a100"\nbatch-size = 8\n[estimate]\nperiod = 7\n'),
         _ask_config),
    Kind("checkpoint", "c.pt", lambda folder: torch.save(_state(), folder / "c.pt"),
         _estimating("c.pt", "--distribution", "checkpoint", "--from"), sealed=True),
    Kind("old checkpoint", "c.pt",
         lambda folder: torch.save(_state(), folder / "c.pt", _use_new_zipfile_serialization=False),
         _estimating("c.pt", "--distribution", "checkpoint", "--from")),
    Kind("momentum", "c.pt", lambda folder: torch.save(_state(), folder / "c.pt"),
         _estimating("c.pt", "--weights", "0.5", "--distribution", "momentum", "--from"), sealed=True),
    Kind("safetensors", "c.safetensors", lambda folder: save_file(_state()["model"], folder / "c.safetensors"),
         _estimating("c.safetensors", "--weights", "0.5", "--distribution", "global", "--from")),
    Kind("cache entry", "entry.json", _make_cached, _ask_entry, sealed=True, weight=0.5),
    Kind("study record", "study.jsonl", _make_study, _ask_study, fixed_keys=True, weight=0.3),
    Kind("arrays", "d.npz", lambda folder: numpy.savez(folder / "d.npz", **_ARRAYS), _ask_samples("d.npz"),
         sealed=True),
    Kind("onnx", "net.onnx", _make_onnx, lambda folder: main([str(folder / "net.onnx"), "--format", "json"])),
    Kind("images", "images/a/0.png", _make_images, _ask_samples("images")),
)  # fmt: skip
