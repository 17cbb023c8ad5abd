import contextlib
import json
import os
import re
import signal
from pathlib import Path

import numpy
import pytest
from torch import nn

import swatcost
from swatcost.accelerator import study as module
from swatcost.cli import main
from swatcost.common.errors import SwatcostError
from swatcost.report import render_as
from swatcost.simulation.study import study

GRID = {"weights": [0.5, 0.9], "shapes": ["T2,5", "L1,6"], "seeds": 2}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A saved trace of less than a million weights, simulated in a tenth of the time that cifar_resnet18 takes."""
    module = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 256),
    )  # fmt: skip
    path = tmp_path_factory.mktemp("study") / "small.json"
    swatcost.trace(module, input_shape=(3, 8, 8), name="small").save(path)
    return str(path)


@pytest.fixture(scope="module")
def serial(small):
    return study([small], **GRID, jobs=1)


def test_an_array_without_dimensions_is_one_value(small):
    both = [study([small], weights=each, acts=each, jobs=1) for each in (0.5, numpy.array(0.5))]
    assert both[0] == both[1]
    frame = swatcost.sweep(small, weights=numpy.array(0.5), acts=0.5)
    assert frame[["weights", "acts"]].values.tolist() == [[0.5, 0.5]]


def test_pairs(small):
    def targets(**given):
        return [(row["weights"], row["acts"]) for row in study([small], paired=True, jobs=1, **given)]

    assert targets(weights=[0.5, 0.9], acts=[0.1, 0.2]) == [(0.5, 0.1), (0.9, 0.2)]
    assert targets(weights=[0.5, 0.9], acts=0.1) == [(0.5, 0.1), (0.9, 0.1)]
    assert targets(weights=0.5, acts=[0.1, 0.2]) == [(0.5, 0.1), (0.5, 0.2)]
    assert targets(weights=[0.5, 0.9]) == [(0.5, None), (0.9, None)]
    with pytest.raises(SwatcostError, match="equally many, not 2 and 3"):
        targets(weights=[0.5, 0.9], acts=[0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("given", "said"),
    [({}, "a study needs at least one weight sparsity"), ({"weights": []}, "weights: give at least one"),
     ({"weights": 0.5, "acts": []}, "acts: give at least one")],
)  # fmt: skip
def test_nothing_to_study(given, said, small):
    with pytest.raises(SwatcostError, match=said):
        study([small], jobs=1, **given)


def test_order_and_numbers(serial):
    assert [(row["shape"], row["weights"], row["seed"]) for row in serial[:3]] == [
        ("T⟨2,5⟩", 0.5, 0), ("T⟨2,5⟩", 0.5, 1), ("T⟨2,5⟩", 0.9, 0),
    ]  # fmt: skip
    assert serial[0]["forward_speedup"] != serial[1]["forward_speedup"]
    assert serial[0]["step_speedup"] < serial[2]["step_speedup"]


def test_processes_give_the_same(small, serial):
    assert study([small], **GRID, jobs=2) == serial


def test_a_study_resumes(small, serial, tmp_path, monkeypatch):
    record = tmp_path / "study.jsonl"
    study([small], weights=[0.5], shapes=["T2,5"], seeds=2, jobs=1, record=record)
    with record.open("a") as file:
        file.write('{"model": "cifar_res')  # a line that was being written
    done = []
    assert study([small], **GRID, jobs=1, record=record, progress=lambda *each: done.append(each)) == serial
    assert done[0] == (2, 8)
    assert len(record.read_text().splitlines()) == 1 + 8
    monkeypatch.setattr(module.Task, "run", None)  # nothing is left to do
    assert study([small], **GRID, record=record) == serial


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("something else\n", "damaged"),
        ('{"schema": "swatcost.run/1"}\n', "not a record of a study"),
        ("precious", "not a record of a study"),
        ('{"schema": "mine, without an end', "not a record of a study"),
        (b"\x86\xff", "not a record of a study"),
        ('{"schema": "swatcost.study/2", "settings": {"batch_size": 3}}\n', "other settings"),
    ],
)
def test_other_files_stay_as_they_are(text, said, tmp_path):
    text = text if isinstance(text, bytes) else text.encode()
    (tmp_path / "mine.jsonl").write_bytes(text)
    with pytest.raises(SwatcostError, match=said):
        study(["cifar_resnet18"], weights=[0.5], record=tmp_path / "mine.jsonl")
    assert (tmp_path / "mine.jsonl").read_bytes() == text


@pytest.mark.parametrize("figure", ['"x"', "NaN", "null", "1e999", "Infinity"])
def test_figures_of_a_record_are_numbers(small, figure, tmp_path):
    record = tmp_path / "study.jsonl"
    study([small], weights=[0.5], jobs=1, record=record)
    record.write_text(re.sub(r'(?<="grad_input_speedup": )[0-9.]+', figure, record.read_text()))
    with pytest.raises(SwatcostError, match="damaged record"):
        study([small], weights=[0.5], record=record)


def test_a_record_is_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for endless in ("/dev/zero", tmp_path / "pipe"):
        with pytest.raises(SwatcostError, match="not a file that a study can resume from"):
            study(["cifar_resnet18"], weights=[0.5], record=endless)


def test_networks_of_one_name_are_told_apart(tmp_path):
    body = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1))
    small, large = (swatcost.trace(body, input_shape=(3, size, size)) for size in (8, 32))
    assert small.name == large.name
    record = tmp_path / "study.jsonl"
    (first,) = study([small], weights=[0.5], jobs=1, record=record)
    (second,) = study([large], weights=[0.5], jobs=1, record=record)
    assert second["dense_step_cycles"] == 16 * first["dense_step_cycles"]  # 32 · 32 windows instead of 8 · 8
    both = study([small, large], weights=[0.5], jobs=1)
    assert both == [first, second]
    table = render_as("study", both, "table", width=200)
    assert first["network"] in table
    assert second["network"] in table
    assert first["network"] not in render_as("study", [first], "table", width=200)


def test_no_more_processes_than_simulations(small, monkeypatch):
    import joblib

    asked = []
    parallel = joblib.Parallel
    monkeypatch.setattr(joblib, "Parallel", lambda n_jobs, **more: asked.append(n_jobs) or parallel(n_jobs=1, **more))
    study([small], weights=[0.5], jobs=10**8)
    assert asked == [1]


def children():
    """Processes that this one started."""
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            if f"\nPPid:\t{os.getpid()}\n" in status.read_text():
                yield int(status.parent.name)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="finds workers in /proc")
@pytest.mark.filterwarnings("ignore")
def test_a_local_worker_may_die(small, serial):
    """All of them do, once the study is under way: joblib may have kept some that are not at work."""
    killed = []

    def kill_all(done, of):
        if done == 1:
            for pid in children():
                if "popen_loky_posix" in Path(f"/proc/{pid}/cmdline").read_text():
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

    assert study([small], **GRID, jobs=2, progress=kill_all) == serial
    assert killed


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_loses_a_worker(small, serial):
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as cluster:
        first = next(iter(cluster.workers.values()))
        killed = []

        def kill_one(done, of):
            if done >= 1 and not killed:
                killed.append(done)
                os.kill(first.process.pid, signal.SIGKILL)

        assert study([small], **GRID, scheduler=cluster.scheduler_address, progress=kill_one) == serial
        assert killed[0] < len(serial)  # midway


def test_command(small, tmp_path, capsys, serial):
    record = str(tmp_path / "s.jsonl")
    arguments = ["study", small, "--weights", "0.5,0.9", "--shape", "T2,5", "--record", record]
    assert main([*arguments, "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert err.startswith("swatcost: 2 simulations in ")
    assert f", rows to {record}\n" in err
    rows = json.loads(out)["rows"]
    assert rows == [row for row in serial if row["shape"] == "T⟨2,5⟩" and row["seed"] == 0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--weights", "x"], "'x'"),
        (["--weights", "1.5"], "not a sparsity"),
        (["--weights", "0.5", "--seeds", "0"], "seeds 0"),
        (["--weights", "0.5", "--scheduler", "nonsense://x"], "scheduler nonsense://x"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_misuse(arguments, said, capsys):
    assert main(["study", "cifar_resnet18", *arguments]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert not captured.out
