"""Training runs: records, interruptions, resuming to the bit, data, and what plans are made of them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

import swatcost
from swatcost.cli import main
from swatcost.common.errors import SwatcostError
from swatcost.common.record import Header, Step, Writer, cut, read_record
from swatcost.counting.default_sparsity import default_act_sparsity
from swatcost.reference.data import samples
from swatcost.reference.run_settings import Settings
from swatcost.reference.training import resume, run


def settings_of(model: str, **changes: Any) -> Settings:
    given: dict[str, Any] = {"steps": 12, "period": 5, "weights": 0.8, "acts": 0.7, "batch_size": 32, "record_every": 4}
    return Settings(model=model, input_shape=(1, 8, 8), **given | changes)


def without_times(path: Path) -> list[dict[str, Any]]:
    """The lines of a record, without what no two runs share."""
    text = re.sub(rb'"(seconds|topk_seconds)":[^,}]*', rb'"\1":0', path.read_bytes())
    return [json.loads(line) for line in text.splitlines()]


def assert_resumed_to_the_bit(settings: Settings, folder: Path) -> None:
    """A run of 18 steps that is interrupted after 14 and resumed has the record and the weights of a whole one."""
    whole, parts = folder / "whole.jsonl", folder / "parts.jsonl"
    run(settings, whole)

    def stop(progress: Any) -> None:
        if progress.done == 14:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="14 of 18"):
        run(settings, parts, stop)
    assert len(read_record(parts).steps) == 14
    resume(parts)
    assert without_times(whole) == without_times(parts)
    one, other = (torch.load(path.with_suffix(".pt"), weights_only=True) for path in (whole, parts))
    for name, value in one["model"].items():
        assert torch.equal(value, other["model"][name])


def test_a_record_says_what_every_layer_did(small: str, tmp_path: Path) -> None:
    record = run(settings_of(small), tmp_path / "run.jsonl")
    assert [step.step for step in record.steps] == list(range(12))
    assert [step.step for step in record.measured] == [0, 4, 8, 11]
    first, conv, linear = record.measured[0].layers
    assert (first.weight_sparsity, first.weight_threshold) == (0, None)  # the first layer stays dense
    assert conv.weight_sparsity == pytest.approx(0.8, abs=1 / 1152)
    assert linear.act_sparsity == pytest.approx(0.7, abs=1e-3)
    # forward: the active weights on 4 × 4 outputs of 8 × 8 inputs, strided and padded on the left and the top alone:
    # of 3 places in each dimension one misses an output of four; at most 32 · 16 · (active weights)
    active = round(0.2 * 16 * 8 * 9)
    assert 0.7 * 32 * 16 * active < conv.macs["forward"] < 32 * 16 * active
    assert conv.kept_bytes == 4 * (32 * 8 * 64 + 16 * 8 * 9)
    assert linear.momentum_share is not None
    assert sum(layer.momentum_share or 0 for layer in record.measured[0].layers) == pytest.approx(1)
    assert record.measured[0].saved_bytes is not None
    assert record.tests[-1].steps == 12


@pytest.mark.parametrize("changes", [{}, {"method": "saw"}, {"method": "meprop", "weights": None, "acts": None,
                                     "grads": 0.5}, {"distribution": "momentum"}, {"over": "random"}])  # fmt: skip
def test_a_run_that_is_resumed_is_the_same_to_the_bit(small: str, tmp_path: Path, changes: dict[str, Any]) -> None:
    assert_resumed_to_the_bit(settings_of(small, data="synthetic", steps=18, **changes), tmp_path)


def test_a_killed_run_keeps_its_record_and_resumes(small: str, tmp_path: Path) -> None:
    run(settings_of(small), tmp_path / "whole.jsonl")
    path = tmp_path / "killed.jsonl"
    path.write_bytes(b"\n".join((tmp_path / "whole.jsonl").read_bytes().split(b"\n")[:7]) + b'\n{"kind":"step","st')
    assert len(read_record(path).steps) == 6
    resume(path)  # there is no checkpoint: from the beginning
    assert without_times(path) == without_times(tmp_path / "whole.jsonl")


def test_damaged_files_are_named(small: str, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    run(settings_of(small, steps=2), path)
    with pytest.raises(SwatcostError, match="is complete"):
        resume(path)
    with pytest.raises(SwatcostError, match="already exists"):
        run(settings_of(small), path)
    path.with_suffix(".pt").write_bytes(b"nothing")
    with pytest.raises(SwatcostError, match=r"run\.pt is not a usable checkpoint"):
        resume(path)
    whole = path.read_bytes()
    for damage, message in (
        (b"", "does not begin with a header"),
        (b"{}\n", "line 1"),
        (whole.replace(b'"loss":', b'"loss":"x",', 1), "line 2"),
        (whole.replace(b'"weight":"3.weight"', b'"weight":"3.bias"', 1), "are not those of the header"),
        (whole.replace(b'"steps":2', b'"steps":2,"colour":1', 1), "colour"),
        (whole.replace(b'"batch_size":32', b'"batch_size":"many"', 1), "batch_size|str"),
    ):
        path.write_bytes(damage)
        with pytest.raises(SwatcostError, match=message):
            resume(path)
    with pytest.raises(SwatcostError, match="cannot read"):
        read_record(tmp_path / "none.jsonl")


def test_another_run_s_checkpoint_is_not_taken(small: str, tmp_path: Path) -> None:
    (tmp_path / "run.pt").write_bytes(b"")
    with pytest.raises(SwatcostError, match=r"run\.pt exists already"):
        run(settings_of(small), tmp_path / "run.jsonl")
    assert not (tmp_path / "run.jsonl").exists()


def test_a_record_is_written_by_one_run_at_a_time(tmp_path: Path) -> None:
    header = Header(version="", settings={}, classes=1, input_shape=(1,), data="", steps=1, weights=())
    path = tmp_path / "run.jsonl"
    with Writer(path, header), pytest.raises(SwatcostError, match="another run"):
        Writer(path)
    with Writer(path) as writer:
        writer.append(Step(step=0, loss=1.0, accuracy=0.5, seconds=1.0, topk_seconds=0.0))
    cut(path, 0)
    assert read_record(path).steps == ()


def test_plans_from_a_run(small: str, tmp_path: Path) -> None:
    record = run(settings_of(small, weights=0.6, acts=0.7), tmp_path / "run.jsonl")
    network = swatcost.load(small, input_shape=(1, 8, 8))
    rows = record.by_layer()
    measured = swatcost.estimate(network, distribution="file", source=tmp_path / "run.jsonl")
    assert [each.sparsity.weight for each in measured.layers] == [row["weights"] for row in rows.values()]
    assert [each.sparsity.activation for each in measured.layers] == [row["acts"] for row in rows.values()]
    # SWAT-M: shares of the record, and those that the checkpoint's momentum gives for the same active weights
    by_record, by_checkpoint = (
        swatcost.estimate(network, weights=0.6, distribution="momentum", source=tmp_path / name, first_layer="sparse")
        for name in ("run.jsonl", "run.pt")
    )
    for one, other in zip(by_record.layers[1:], by_checkpoint.layers[1:], strict=True):
        assert one.sparsity.weight == pytest.approx(other.sparsity.weight, abs=0.02)
    # the default activation sparsity, weighted by F · C · R · S · H · W: 8·1·9·64, 16·8·9·16, 10·256
    work = (8 * 9 * 64, 16 * 8 * 9 * 16, 10 * 256)
    zeros = [row["zeros"] for row in rows.values()]
    expected = sum(w * z for w, z in zip(work, zeros, strict=True)) / sum(work)
    assert default_act_sparsity(network, dict(zip(rows, zeros, strict=True))) == pytest.approx(expected)
    charged = swatcost.estimate(network, weights=0.6, method="rigl", default_act_sparsity=str(tmp_path / "run.jsonl"))
    assert charged.default_act_sparsity == pytest.approx(expected)
    with pytest.raises(SwatcostError, match="another network"):
        swatcost.estimate("resnet18", weights=0.5, method="rigl", default_act_sparsity=tmp_path / "run.jsonl")


def test_swat_m_follows_the_run_s_own_momentum(small: str, tmp_path: Path) -> None:
    settings = settings_of(small, distribution="momentum", data="synthetic", steps=26, period=1, first_layer="sparse")
    record = run(settings, tmp_path / "run.jsonl")  # an epoch is 12 steps
    uniform, *_, last = ([layer.weight_sparsity for layer in step.layers] for step in record.measured)
    assert uniform == pytest.approx([0.8] * 3, abs=0.01)
    assert max(last) - min(last) > 0.05
    sizes = [8 * 9, 16 * 8 * 9, 10 * 256]
    assert sum(s * n for s, n in zip(last, sizes, strict=True)) / sum(sizes) == pytest.approx(0.8, abs=2e-3)


@pytest.mark.parametrize("second", [False, True])
def test_the_command_and_its_interruption(small: str, tmp_path: Path, second: bool) -> None:
    command = [sys.executable, "-m", "swatcost", "run", small, "--input-shape", "1,8,8", "--steps", "100000"]
    command += ["--weights", "0.8", "--acts", "0.8", "--data", "synthetic", "--output", "run.jsonl"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "run.jsonl").exists() or len((tmp_path / "run.jsonl").read_bytes().splitlines()) < 4:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM if second else signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    begun, _, interrupted = err.partition("\n")
    assert begun.endswith("record to run.jsonl, checkpoint to run.pt")
    assert re.fullmatch(
        r"swatcost: interrupted after \d+ of 100000 steps; resume with: swatcost run --resume run.jsonl\n", interrupted
    )
    assert (tmp_path / "run.pt").exists()


def test_run_prints_what_came_of_it(small: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [small, "--input-shape", "1,8,8", "--steps", "6", "--weights", "0.8", "--record-every", "3"]
    assert main(["run", *words]) == 0
    out, err = capsys.readouterr()
    begun = "6 steps of small.py:build on cpu, record to swatcost-run.jsonl, checkpoint to swatcost-run.pt"
    assert err == f"swatcost: {begun}\n"
    assert max(map(len, out.splitlines())) <= 80
    assert "accuracy on held-out samples" in out
    assert main(["run", *words, "--output", "a.jsonl", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps_done"] == 6


MISUSES = [
    (["run"], "name a MODEL"),
    (["run", "MODEL", "--steps", "2", "--epochs", "1"], "not both"),
    (["run", "MODEL", "--steps", "0"], "steps 0"),
    (["run", "MODEL", "--output", "run.txt"], "name it .jsonl"),
    (["run", "MODEL", "--data", "nowhere"], "give digits"),
    (["run", "MODEL", "--data", "bad.npz"], "not a usable .npz"),
    (["run", "MODEL", "--classes", "3"], "classes 3"),
    (["run", "MODEL", "--batch-size", "5000"], "batch_size 5000"),
    (["run", "MODEL", "--lr", "nan"], "learning_rate"),
    (["run", "MODEL", "--method", "rigl", "--weights", "0.5"], "estimated, not run"),
    (["run", "MODEL", "--on", "cuda"], "no usable GPU"),
    (["run", "trace.json"], "cannot read trace.json"),
    (["run", "--resume", "run.jsonl", "--steps", "5"], "--steps: a resumed run"),
    (["run", "MODEL", "--resume", "run.jsonl"], "a resumed run keeps its settings"),
    (["run", "--resume", "none.jsonl"], "cannot read"),
    (["validate", "MODEL", "--steps", "0"], "steps 0"),
    (["validate", "trace.json"], "cannot read trace.json"),
]


@pytest.mark.parametrize(
    ("words", "message"), MISUSES, ids=lambda each: " ".join(each) if isinstance(each, list) else ""
)
def test_misuse_is_one_line(
    small: str,
    tmp_path: Path,
    words: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "bad.npz").write_bytes(b"PK nothing")
    given = [small if word == "MODEL" else word for word in words]
    shape = ["--input-shape", "1,8,8"] if "MODEL" in words else []
    assert main([*given, *shape]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert message in err
    assert not list(tmp_path.glob("*.jsonl"))


def test_data_of_the_user(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    shape = {"input_shape": (3, 8, 8), "classes": None}
    images = numpy.arange(10 * 4 * 4, dtype=numpy.uint8).reshape(10, 4, 4)
    numpy.savez(tmp_path / "gray.npz", x=images, y=numpy.arange(10) % 3)
    gray = samples(str(tmp_path / "gray.npz"), **shape)
    assert (gray.images.shape, gray.test_images.shape, gray.classes) == ((8, 3, 8, 8), (2, 3, 8, 8), 3)
    assert float(gray.images.max()) <= 1
    colours = numpy.random.default_rng(0).random((6, 8, 8, 3))
    given = {"x_train": colours, "y_train": numpy.arange(6), "x_test": colours[:2], "y_test": numpy.arange(2)}
    numpy.savez(tmp_path / "colours.npz", **given)
    split = samples(str(tmp_path / "colours.npz"), **shape)
    torch.testing.assert_close(split.images, torch.as_tensor(colours).float().permute(0, 3, 1, 2))
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(5):
            pixels = numpy.full((6, 6, 3), 50 * label + number, dtype=numpy.uint8)
            pillow.fromarray(pixels).save(tmp_path / "pets" / name / f"{number}.png")
    pets = samples(str(tmp_path / "pets"), **shape)
    for image, label in zip(pets.images, pets.labels, strict=True):
        assert round(float(image.mean()) * 255) // 50 == label
    (tmp_path / "pets" / "cat" / "torn.png").write_bytes(b"\x89PNG")
    with pytest.raises(SwatcostError, match=r"torn\.png is not a usable image"):
        samples(str(tmp_path / "pets"), **shape)
    numpy.savez(tmp_path / "objects.npz", x=numpy.array([{}], dtype=object), y=numpy.zeros(1, int))
    with pytest.raises(SwatcostError, match="not a usable"):
        samples(str(tmp_path / "objects.npz"), **shape)


def test_the_digits_are_the_test_set_of_uci() -> None:
    data = samples("digits", input_shape=(1, 8, 8), classes=10)
    labels = torch.cat([data.labels, data.test_labels])
    # images of each class as the repository's page lists them for the test set; 1,797 together
    assert labels.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    pixels = 16 * torch.cat([data.images, data.test_images])  # each counts the dark ones of 4 · 4 = 16
    assert pixels.unique().tolist() == list(range(17))
    assert data.images.dtype == torch.float32


def test_batches_resume_where_they_were() -> None:
    data = samples("digits", input_shape=(1, 8, 8), classes=10)
    assert (len(data.images), len(data.test_images)) == (1438, 359)
    batches = data.batches(100, seed=1)
    whole = [next(batches)[1] for _ in range(20)]  # 14 a epoch
    for start in (0, 5, 14, 17):
        assert torch.equal(next(data.batches(100, seed=1, start=start))[1], whole[start])
