"""Networks from elsewhere: factories, other libraries, entry points; and the traces kept of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from swatcost_models import ZOO
from torch import nn

import swatcost
from swatcost.cli import main
from swatcost.common.errors import SwatcostWarning
from swatcost.loading import trace_cache as cache
from swatcost.loading.traces import shipped
from swatcost.network import formulas

FACTORY = """
    import torch
    from torch import nn

    def build(num_classes=10):
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, num_classes))

    def with_inputs():
        return nn.Linear(5, 7), torch.zeros(2, 5)

    def tokens():
        return nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 10))

    def looks_at_values():
        scale = torch.linspace(0, 1, 3)[1].item()
        return nn.Linear(int(10 * scale), 2), torch.zeros(1, 5)

    class Net(nn.Linear):
        def __init__(self):
            super().__init__(5, 7)
            print("building")

    made = nn.Linear(6, 2)
    number = 3

    class Looks(nn.Linear):
        def forward(self, x):
            return super().forward(x) if x.sum().item() >= 0 else x

    def runs_for_real():
        return Looks(5, 3)

    def broken():
        raise ValueError("no such thing\\nat all")

    def nothing():
        return None
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(textwrap.dedent(FACTORY))
    old = path.stat().st_mtime_ns - 10**12  # as if it had been there before this process
    os.utime(path, ns=(old, old))
    return path


def weight_shapes(source: str, **asked: Any) -> list[tuple[int, ...]]:
    return [layer.weight_shape for layer in swatcost.load(source, **asked).weight_layers]


def test_a_factory_in_a_file(file: Path) -> None:
    assert weight_shapes(f"{file}:build", input_shape=(3, 8, 8)) == [(4, 3, 3, 3), (10, 144)]
    assert weight_shapes(f"{file}:build", input_shape=(3, 8, 8), classes=7)[-1] == (7, 144)
    assert weight_shapes(f"{file}:with_inputs") == [(7, 5)]
    assert weight_shapes(f"{file}:looks_at_values") == [(2, 5)]
    assert weight_shapes(f"{file}:made", input_shape=(6,)) == [(2, 6)]
    assert weight_shapes(f"{file}:runs_for_real", input_shape=(5,)) == [(3, 5)]


def test_tokens_are_recognised(file: Path) -> None:
    for dtype in (None, "int64"):
        network = swatcost.load(f"{file}:tokens", input_shape=(12,), input_dtype=dtype)
        assert network.weight_layers[0].input_shape[1:] == (12, 4)
        assert network.input_shapes[0][1:] == (12,)


def test_what_a_factory_prints_stays_off_standard_output(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert weight_shapes(f"{file}:Net", input_shape=(5,)) == [(7, 5)]
    out, err = capsys.readouterr()
    assert (out, "building" in err) == ("", True)


def test_a_factory_in_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "my_nets"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "small.py").write_text(textwrap.dedent(FACTORY))
    monkeypatch.chdir(tmp_path)
    assert weight_shapes("my_nets.small:with_inputs") == [(7, 5)]
    for name in ("my_nets", "my_nets.small"):
        del sys.modules[name]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{file}:build", "does not define an input shape: give --input-shape"),
        ("{file}:bild", "has no 'bild': did you mean build?"),
        ("{file}:broken", "broken raised ValueError: no such thing$"),
        ("{file}:nothing", "returned a value of type NoneType: it has to return a module"),
        ("{file}:number", "is of type int, not a network factory"),
        ("{folder}/none.py:build", "none.py: no such file"),
        ("{folder}/wrong.py:build", "wrong.py cannot be imported: SyntaxError"),
        ("{folder}/stops.py:build", "stops.py cannot be imported: SystemExit: 3"),
        ("no_such_package.nets:build", "no_such_package.nets is not installed, or not on the path"),
        ("{file}", "is a file: add the name of its factory"),
        ("resnet5", "unknown model 'resnet5': did you mean resnet50"),
        ("quite another", "or give a zoo name, torchvision:NAME"),
    ],
)
def test_what_cannot_be_built_is_named(file: Path, source: str, message: str) -> None:
    (file.parent / "wrong.py").write_text("def build(:\n")
    (file.parent / "stops.py").write_text("raise SystemExit(3)\n")
    with pytest.raises(swatcost.SwatcostError, match=message) as refused:
        swatcost.load(source.format(file=file, folder=file.parent))
    assert "\n" not in str(refused.value)


class Output(dict[str, Any]):
    """As Hugging Face's outputs are."""


class Configured(nn.Module):
    """As Hugging Face's models are: made from a config object, called by keyword, with dummy inputs."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(config.vocabulary, config.width), nn.Linear(config.width, 2)

    @property
    def dummy_inputs(self) -> dict[str, torch.Tensor]:
        return {"input_ids": torch.zeros(3, 5, dtype=torch.long)}

    def forward(self, input_ids: torch.Tensor) -> Output:
        return Output(logits=self.head(self.table(input_ids)))


def test_a_model_from_a_config_brings_its_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("hub")
    config = type("Config", (), {"vocabulary": 20, "width": 6})
    module.small = lambda: Configured(config())  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hub", module)
    network = swatcost.load("hub:small")
    assert network.batch_size == 3
    assert [layer.input_shape for layer in network.weight_layers] == [(3, 5, 6)]
    assert network.weight_layers[0].weight_trains


@pytest.mark.filterwarnings("ignore")
def test_hugging_face(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    (tmp_path / "hub.py").write_text(
        "from transformers import AutoModelForCausalLM, LlamaConfig\n"
        "def llama():\n"
        "    config = LlamaConfig(num_hidden_layers=1, hidden_size=64, intermediate_size=96, vocab_size=50,\n"
        "                         num_attention_heads=4, num_key_value_heads=2)\n"
        "    return AutoModelForCausalLM.from_config(config)\n"
    )
    network = swatcost.load(f"{tmp_path}/hub.py:llama", input_shape=(8,), input_dtype="int64")
    # q and o: 64², k and v: 64 · 32, gate, up and down: 64 · 96, head: 64 · 50; 8 tokens; attention 2 · 8² · 64
    expected = 8 * (2 * 64**2 + 2 * 64 * 32 + 3 * 64 * 96 + 64 * 50) + 2 * 8**2 * 64
    assert swatcost.estimate(network, convention="exact").costs.forward.dense == expected


def stand_in_for_torchvision() -> ModuleType:
    models = ModuleType("torchvision.models")
    models.list_models = lambda: ["resnet18", "vit_b_16"]  # type: ignore[attr-defined]
    models.get_model = (  # type: ignore[attr-defined]
        lambda name, weights, num_classes=1000: ZOO[name].build(num_classes)
    )
    return models


def test_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", stand_in_for_torchvision())
    assert swatcost.load("torchvision:resnet18").weight_elements == swatcost.load("resnet18").weight_elements
    assert swatcost.load("torchvision:resnet18", classes=7).weight_layers[-1].weight_shape == (7, 512)
    with pytest.raises(swatcost.SwatcostError, match="torchvision has no model 'resnet19': did you mean resnet18"):
        swatcost.load("torchvision:resnet19")


def test_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    class Net(nn.Linear):
        default_cfg = {"input_size": (3, 8, 8)}  # noqa: RUF012

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.flatten(1))

    timm = ModuleType("timm")
    timm.is_model = lambda name: name == "small"  # type: ignore[attr-defined]
    timm.list_models = lambda: ["small"]  # type: ignore[attr-defined]
    timm.create_model = lambda name, pretrained, num_classes=9: Net(192, num_classes)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm", timm)
    assert weight_shapes("timm:small") == [(9, 192)]
    with pytest.raises(swatcost.SwatcostError, match="timm has no model 'smal': did you mean small"):
        swatcost.load("timm:smal")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "torchvision is not installed"),
        ("raise RuntimeError('operator torchvision::nms does not exist')", "RuntimeError: operator torchvision::nms"),
        ("import not_there", "torchvision cannot be imported: No module named 'not_there'"),
    ],
)
def test_a_library_that_cannot_be_imported_is_named_in_one_line(
    tmp_path: Path,
    content: str | None,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    if content is None:
        monkeypatch.setitem(sys.modules, "torchvision", None)
    else:
        (tmp_path / "torchvision.py").write_text(content)
        monkeypatch.syspath_prepend(tmp_path)
    assert main(["torchvision:resnet50"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err


def test_entry_points(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    offered = [EntryPoint("theirs", f"{file}:with_inputs", "swatcost.models")]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: offered if group == "swatcost.models" else [])
    assert weight_shapes("theirs") == [(7, 5)]
    with pytest.raises(swatcost.SwatcostError, match="did you mean theirs"):
        swatcost.load("their")


@pytest.mark.parametrize("name", list(ZOO))
def test_shipped_traces_are_what_a_fresh_trace_gives(name: str) -> None:
    kept = shipped(name, ZOO[name].input_shape[0] if ZOO[name].input_dtype else None)
    fresh = swatcost.load(name, fresh=True)
    assert kept is not None
    different = {field for field in fresh.__dataclass_fields__ if getattr(kept, field) != getattr(fresh, field)} - {
        "torch_version"
    }
    assert not different, "run `make traces`"


@pytest.fixture
def kept_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "kept"
    monkeypatch.setenv(cache.DIRECTORY_VARIABLE, str(folder))
    monkeypatch.setattr(
        sys.modules["swatcost.loading.load"], "_STARTED", time.time_ns()
    )  # other tests have left modules and formulas behind
    monkeypatch.setattr(formulas, "_REGISTERED_HERE", set())
    return folder


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the sources that were really traced."""
    import swatcost.tracing.sources as sources

    names: list[str] = []

    def watched(source: str, **asked: Any) -> swatcost.Network:
        names.append(source)
        return original(source, **asked)

    original: Callable[..., swatcost.Network] = sources.trace_source
    monkeypatch.setattr(sources, "trace_source", watched)
    return names


def test_a_network_is_traced_once(file: Path, kept_in: Path, traced: list[str]) -> None:
    source = f"{file}:with_inputs"
    first, second = swatcost.load(source), swatcost.load(source)
    assert first == second
    assert len(traced) == 1
    swatcost.load(source, fresh=True)
    swatcost.load(f"{file}:build", input_shape=(3, 8, 8))
    assert len(traced) == 3
    assert len(list(kept_in.glob("*.json"))) == 2


def test_a_damaged_entry_is_traced_anew(file: Path, kept_in: Path, traced: list[str]) -> None:
    source = f"{file}:with_inputs"
    network = swatcost.load(source)
    (entry,) = kept_in.iterdir()
    content = entry.read_bytes()
    # the last is a trace of another network, 6 features instead of 7, that is in order in itself
    other = content.replace(b"[7,5]", b"[6,5]").replace(b",7]", b",6]")
    assert content != other
    for damaged in (b"", content[:-20], b"[" * 100_000, content.replace(b"trace/3", b"trace/1"), b"\xff", other):
        entry.write_bytes(damaged)
        with pytest.warns(SwatcostWarning, match=f"{entry.name} is not used"):
            assert swatcost.load(source) == network
    assert len(traced) == 7
    # the first trace of a process also reads what torch imports late
    before, now = (json.loads(each)["entry"] for each in (content, entry.read_bytes()))
    assert now["files"].keys() <= before["files"].keys()
    assert now | {"files": now["files"][str(file)]} == before | {"files": before["files"][str(file)]}


def test_entries_that_were_swapped_are_traced_anew(file: Path, kept_in: Path, traced: list[str]) -> None:
    lengths = (4, 5)
    networks = [swatcost.load(f"{file}:tokens", input_shape=(length,)) for length in lengths]
    assert networks[0] != networks[1]
    one, other = kept_in.iterdir()
    contents = one.read_bytes(), other.read_bytes()
    one.write_bytes(contents[1])
    other.write_bytes(contents[0])
    for length, network in zip(lengths, networks, strict=True):
        with pytest.warns(SwatcostWarning, match="is not used: it is of another request"):
            assert swatcost.load(f"{file}:tokens", input_shape=(length,)) == network
        assert swatcost.load(f"{file}:tokens", input_shape=(length,)) == network
    assert len(traced) == 4


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_an_entry_that_never_ends_is_not_opened(make: Any, file: Path, kept_in: Path) -> None:
    network = swatcost.load(f"{file}:with_inputs")
    (entry,) = kept_in.iterdir()
    entry.unlink()
    make(entry)
    with pytest.warns(SwatcostWarning, match="cannot read"):
        assert swatcost.load(f"{file}:with_inputs") == network


LOAD = """
def load(source):
    import sys, swatcost
    print(swatcost.load(source).weight_layers[0].weight_shape, "torch" in sys.modules, flush=True)
"""
# Importing torch takes most of a process's time. This one has done so, and forks one process for each line it reads.
WITH_TORCH = f"""
import json, os, sys, torch, traceback
{LOAD}
for line in sys.stdin:
    if not os.fork():
        try:
            source, environment = json.loads(line)
            os.environ.update(environment)
            load(source)
        except BaseException:
            print(repr(traceback.format_exc()), flush=True)  # in one line, where an answer is awaited
        finally:
            os._exit(0)
"""


def variables(kept_in: Path) -> dict[str, str]:
    return {cache.DIRECTORY_VARIABLE: str(kept_in), "PYTHONDONTWRITEBYTECODE": "1"}


def without_torch(source: str, kept_in: Path) -> str:
    """What a process of its own says of the source; it imports torch if it has to trace."""
    code = f"{LOAD}\nimport sys; load(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, source], capture_output=True, text=True, env=os.environ | variables(kept_in)
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def with_torch() -> Iterator[Callable[..., list[str]]]:
    """What processes of their own say of the same source, all at once; torch is imported in each."""
    with subprocess.Popen(
        [sys.executable, "-c", WITH_TORCH], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        asks, answers = server.stdin, server.stdout

        def ask(source: str, kept_in: Path, processes: int = 1) -> list[str]:
            asks.writelines(processes * [json.dumps([source, variables(kept_in)]) + "\n"])
            return [answers.readline().strip() for _ in range(processes)]

        yield ask
        asks.close()


def test_what_a_factory_reads_is_part_of_the_key(
    tmp_path: Path, kept_in: Path, with_torch: Callable[..., list[str]]
) -> None:
    """The file itself, what it imports, and a file that it opens; and the second time torch is not imported."""
    (tmp_path / "helper.py").write_text("WIDTH = 5\n")
    (tmp_path / "config.json").write_text('{"out": 7}')
    (tmp_path / "net.py").write_text(
        "import json, pathlib, torch, helper\n"
        "def build():\n"
        "    config = json.loads((pathlib.Path(__file__).parent / 'config.json').read_text())\n"
        "    return torch.nn.Linear(helper.WIDTH, config['out']), torch.zeros(1, helper.WIDTH)\n"
    )
    source = f"{tmp_path}/net.py:build"
    assert with_torch(source, kept_in) == ["(7, 5) True"]
    assert without_torch(source, kept_in) == "(7, 5) False"
    (tmp_path / "config.json").write_text('{"out": 8}')
    assert with_torch(source, kept_in) == ["(8, 5) True"]
    (tmp_path / "helper.py").write_text("WIDTH = 6\n")
    assert with_torch(source, kept_in) == ["(8, 6) True"]
    assert without_torch(source, kept_in) == "(8, 6) False"


def test_many_processes_at_once(file: Path, kept_in: Path, with_torch: Callable[..., list[str]]) -> None:
    assert with_torch(f"{file}:with_inputs", kept_in, processes=4) == 4 * ["(7, 5) True"]
    (entry,) = kept_in.iterdir()
    assert json.loads(entry.read_bytes())["schema"] == "swatcost.cache/2"


def test_an_unwritable_cache_is_ignored(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.DIRECTORY_VARIABLE, str(file))  # a file, no folder
    assert weight_shapes(f"{file}:with_inputs") == [(7, 5)]


def test_files_of_others_are_left_alone(file: Path, kept_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_MOST_ENTRIES", 0)
    kept_in.mkdir()
    (kept_in / "mine.json").write_text("1")
    swatcost.load(f"{file}:with_inputs")
    assert [each.name for each in kept_in.iterdir()] == ["mine.json"]


def test_old_entries_are_forgotten(file: Path, kept_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_MOST_ENTRIES", 2)
    for length in (4, 5, 6):
        swatcost.load(f"{file}:tokens", input_shape=(length,))
    assert len(list(kept_in.glob("*.json"))) == 2
