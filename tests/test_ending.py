"""How the program ends when it is interrupted, killed, or when a disk is full."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import nn

import swatcost
from swatcost.cli import main

AT_IMPORT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
def hook(event, arguments):
    if event == "import" and arguments[0] == os.environ["AT"] and not hook.done:
        hook.done = True
        os.kill(os.getpid(), getattr(signal, os.environ["SIGNAL"]))
hook.done = False
sys.addaudithook(hook)
"""


@pytest.fixture(autouse=True)
def no_signal_is_ignored() -> Iterator[None]:
    """What `nohup` or a shell's background has tests ignore, the programs that they start would ignore, too."""
    ignored = [
        each for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) is signal.SIG_IGN
    ]
    for each in ignored:
        signal.signal(each, signal.SIG_DFL)
    yield
    for each in ignored:
        signal.signal(each, signal.SIG_IGN)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ending") / "small.json"
    module = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 256, 3, padding=1))
    swatcost.trace(module, input_shape=(3, 8, 8), name="small").save(path)
    return str(path)


@pytest.mark.parametrize(
    ("at", "arguments"),
    [
        ("swatcost.estimate", ""),  # the package itself
        ("click", ""),  # the command line
        ("swatcost.cli.output", ""),  # parsing
        ("swatcost.report.numbers", ""),  # the report
        ("pandas", "sweep --weights 0.5"),
        ("matplotlib.figure", "--plot plot.svg"),
        ("plotly", "report --output page.html"),
        ("numba.core.compiler", "simulate --weights 0.5"),
        ("joblib", "study --weights 0.5"),
        ("torch._C", "run --epochs 1"),
    ],
)
def test_ctrl_c_is_quiet_at_any_import(at: str, arguments: str, saved: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(AT_IMPORT)
    command, *options = arguments.split() or [""]
    words = [command, saved, *options] if command and command[0] != "-" else [saved, *arguments.split()]
    done = subprocess.run(
        [sys.executable, "-m", "swatcost", *words], capture_output=True, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "AT": at, "SIGNAL": "SIGINT"},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.strip().splitlines()[-1:] in ([], ["swatcost: interrupted"])
    assert "Traceback" not in done.stderr
    assert "ignored" not in done.stderr
    assert os.listdir(tmp_path) in (["sitecustomize.py"], ["__pycache__", "sitecustomize.py"])


@pytest.mark.parametrize("at", ["swatcost.estimate", "click", "swatcost.report.numbers", "swatcost.report.assumptions"])
@pytest.mark.parametrize(("name", "words"), [("SIGTERM", "terminated"), ("SIGHUP", "terminated, the terminal is gone")])
def test_a_request_to_end_is_an_end(at: str, name: str, words: str, saved: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(AT_IMPORT)
    done = subprocess.run(
        [sys.executable, "-m", "swatcost", saved], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "AT": at, "SIGNAL": name},
    )  # fmt: skip
    ended = (128 + signal.Signals[name], "", f"swatcost: {words}")
    assert (done.returncode, done.stdout, done.stderr.strip()) == ended


def test_an_interrupt_that_a_library_hides_is_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def hides(*_: object, **__: object) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        raise ImportError("a library's own words")

    monkeypatch.setattr("swatcost.cli.cli.main", hides)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert main(["list"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "swatcost: interrupted\n"


def descendants(process: int) -> set[int]:
    found = set()
    for each in os.listdir("/proc"):
        if each.isdigit():
            with contextlib.suppress(OSError):
                parent = int((Path("/proc") / each / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == process:
                    found |= {int(each)} | descendants(int(each))
    return found


def alive(process: int) -> bool:
    with contextlib.suppress(OSError):
        return (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_workers_end_with_their_study(number: int, saved: str, tmp_path: Path) -> None:
    record = tmp_path / "study.jsonl"
    study = subprocess.Popen(
        [sys.executable, "-m", "swatcost", "study", saved, "--weights", "0.5", "--seeds", "100000", "--jobs", "2",
         "--record", str(record)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and (not record.exists() or len(record.read_bytes().splitlines()) < 3):
        time.sleep(0.1)
    workers = descendants(study.pid)
    assert len(workers) >= 2
    study.send_signal(number)
    study.wait(30)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and any(map(alive, workers)):
        time.sleep(0.1)
    assert [each for each in workers if alive(each)] == []
    assert study.returncode == (-number if number == signal.SIGKILL else 128 + number)


@contextlib.contextmanager
def disk_of(size: int) -> Iterator[None]:
    """No file may become larger: the error is EFBIG, which goes where ENOSPC goes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ("{saved} --output out.txt", "out.txt"),
        ("{saved} --plot out.svg", "out.svg"),
        ("trace {saved} --output out.json", "out.json"),
        ("export {saved} --to scalesim --output out.csv", "out.csv"),
        ("export {saved} --to timeloop --output out", "out"),
        ("report {saved} --output out.html", "out.html"),
        ("sweep {saved} --weights 0.5 --output out.parquet", "out.parquet"),
        ("study {saved} --weights 0.5 --jobs 1 --record out.jsonl", "out.jsonl"),
        ("run {saved} --output out.jsonl", "out.jsonl"),
    ],
)
def test_a_full_disk_is_said_with_the_file(
    arguments: str,
    names: str,
    saved: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWATCOST_CACHE_DIR", "")
    model = "cifar_resnet18 --input-shape 3,8,8 --epochs 0.01" if arguments.startswith("run") else saved
    with disk_of(20):
        assert main(arguments.format(saved=model).split()) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == f"swatcost: cannot write {names}: File too large"
    assert [each.read_bytes() for each in tmp_path.iterdir()] in ([], [b""])  # a record is begun, and stays empty
