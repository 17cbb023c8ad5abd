"""Predicted times beside measured ones: what is run, where each measured time goes, and that predictions are the
estimate's. No test depends on how long anything takes.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import swatcost
from swatcost.cli import main
from swatcost.devices import Device, load_device
from swatcost.devices.kernels import Kernel, KernelPass, KernelPoint
from swatcost.reference import time_validation as module_of_validation
from swatcost.reference import validate_time
from swatcost.reference.executed_steps import TrainingStep
from swatcost.reference.predicted_steps import Predictions
from swatcost.reference.sparsifier import Sparsifier
from swatcost.reference.step_observer import Call, InPass, PartKey, StepObserver, by_part
from swatcost.reference.this_machine import is_plainly_another
from swatcost.reference.time_validation import TimeValidation
from swatcost.reference.timed_steps import Repeated, TimedStep
from swatcost.reference.watched_products import watched_product, watching
from swatcost.timed_step import attainable_of

Captured = pytest.CaptureFixture[str]

NETWORK = """
from torch import nn

def build():
    first = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()
    second = nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*first, *second, nn.Linear(8, 10))
"""

ATTENTION = """
from torch import nn

class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        return self.head(self.block(x).mean(1))

def build():
    return Tokens()
"""

FAILS = """
from torch import nn

class Fails(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        if not x.is_meta and x.shape[0] == 5:
            raise ValueError("five is too many")
        return self.head(x)

def build():
    return Fails()
"""


def written(folder: Path, text: str) -> str:
    (folder / "net.py").write_text(text)
    return f"{folder}/net.py:build"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> TimeValidation:
    """Steps of a small network, predicted by a data sheet, which tells every part."""
    model = written(tmp_path_factory.mktemp("networks"), NETWORK)
    return validate_time(
        model, input_shape=(3, 8, 8), batch_size=6, weights=0.5, acts=0.5, device="a100", repetitions=3
    )


def test_predictions_are_the_estimate_s(found: TimeValidation) -> None:
    dense, masked = found.executed
    estimate = found.estimate
    assert dense.step.predicted == estimate.dense_step.seconds
    assert sum(each.predicted or 0 for each in dense.parts) == pytest.approx(estimate.dense_step.seconds)
    plain = replace(estimate.setting, device=replace(estimate.device, kernels=()))
    attainable = attainable_of(estimate.network, estimate.plan, plain, estimate.dense_step)
    assert masked.step.predicted == pytest.approx(attainable.seconds)
    assert masked.steps[1].predicted == pytest.approx(attainable.seconds + estimate.topk_seconds)
    assert sum(each.predicted or 0 for each in masked.parts) == pytest.approx(attainable.seconds)
    for part in dense.parts:
        if part.layer is not None:
            passes = ("forward",) if part.in_pass == "forward" else ("grad_input", "grad_weight")
            own = [each.seconds for each in estimate.dense_step.parts
                   if each.layer == part.layer and each.in_pass in passes]  # fmt: skip
            assert part.predicted == pytest.approx(sum(own))


def test_speedups_are_of_the_average_step(found: TimeValidation) -> None:
    dense, masked = found.executed
    period = found.estimate.topk_period
    reusing, finding = (each.measured.median for each in masked.steps)
    predicted, measured = found.speedup(masked)
    assert measured == pytest.approx(dense.step.measured.median / (reusing + (finding - reusing) / period))
    assert predicted == pytest.approx(found.estimate.dense_step.seconds / found.estimate.masked_step_seconds)
    assert found.to_dict()["executed"][1]["speedup"] == {"predicted": predicted, "measured": measured}
    (row,) = [line for line in str(found).splitlines() if line.startswith("speedup, masked")]
    assert row.split()[-2:] == [f"{predicted:.2f}×", f"{measured:.2f}×"]


def test_predictions_of_a_profile_without_operations(tmp_path: Path) -> None:
    model = written(tmp_path, NETWORK)
    found = validate_time(
        model, input_shape=(3, 8, 8), batch_size=2, weights=0.5, acts=0.5, device="xeon2", repetitions=1, period=7
    )
    dense, masked = found.executed
    assert {part.predicted for part in dense.parts} == {None}
    assert not dense.step.predicts_update  # nor does what the profile measured
    assert dense.step.predicted == found.estimate.dense_step.seconds
    assert found.average is not None
    assert found.average[0] == pytest.approx(found.estimate.masked_step_seconds)
    masking = [part.predicted for part in masked.parts if part.kind == "masking"]
    assert masked.step.predicted == pytest.approx(
        found.estimate.dense_step.seconds + sum(each or 0 for each in masking)
    )
    assert any("only whole steps are predicted" in note for note in found.notes)


def test_every_layer_is_measured_in_both_passes(found: TimeValidation) -> None:
    assert not found.unmatched
    for executed in found.executed:
        passes = [(part.layer, part.in_pass) for part in executed.parts if part.kind in ("conv", "linear")]
        assert passes == [(place, in_pass) for place in range(3) for in_pass in ("forward", "backward")]
        assert all(min(part.measured.seconds) > 0 for part in executed.parts if part.kind in ("conv", "linear"))
    masked = {part.layer for part in found.executed[1].parts if part.kind == "masking"}
    assert masked == {1, 2}  # the first layer is kept dense


def test_parts_are_within_the_step_that_they_were_timed_in(found: TimeValidation) -> None:
    for executed in found.executed:
        parts = [part for part in executed.parts if part.in_pass != "update"]
        for repetition, observed in enumerate(executed.observed.seconds):
            assert 0 < sum(part.measured.seconds[repetition] for part in parts) <= observed
        for step in executed.steps:
            assert len(step.passes.seconds) == len(step.update.seconds) == found.repetitions == 3


def test_a_timed_step_runs_the_network_once() -> None:
    """torch's own counter: 2 FLOPs per MAC."""
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5))
    network = swatcost.trace(module, input_shape=(3, 8, 8))
    macs = swatcost.estimate(network, batch_size=6).exact.training.dense
    step = TrainingStep(module, network, torch.randn(6, 3, 8, 8))
    calls: list[nn.Module] = []
    hooks = [each.register_forward_hook(lambda module, args, result: calls.append(module)) for each in module]
    before = [each.detach().clone() for each in module.parameters()]
    with FlopCounterMode(display=False) as counter:
        elapsed = step.timed()
    for hook in hooks:
        hook.remove()
    assert counter.get_total_flops() == 2 * 6 * macs
    assert calls == list(module)
    assert min(elapsed) > 0
    assert all(
        each.grad is not None and "momentum_buffer" in step.optimizer.state[each] for each in module.parameters()
    )
    assert all(map(torch.equal, before, module.parameters()))  # so that no number grows, however many steps there are


def test_steps_that_find_thresholds_and_steps_that_reuse_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finds: list[int] = []  # how many thresholds each step finds, in order
    own, timed, observed = Sparsifier._found, TrainingStep.timed, TrainingStep.observed

    def counted(self: Sparsifier, x: torch.Tensor) -> torch.Tensor | None:
        finds[-1] += self.sparsity > 0
        return own(self, x)

    def begins(step: Any) -> Any:
        def run(*args: Any) -> Any:
            finds.append(0)
            return step(*args)

        return run

    monkeypatch.setattr(Sparsifier, "_found", counted)
    monkeypatch.setattr(TrainingStep, "timed", begins(timed))
    monkeypatch.setattr(TrainingStep, "observed", begins(observed))
    model = written(tmp_path, NETWORK)
    progress: list[tuple[int, int]] = []
    validate_time(
        model, input_shape=(3, 8, 8), batch_size=2, weights=0.5, acts=0.5, repetitions=2,
        progress=lambda done, of: progress.append((done, of)),
    )  # fmt: skip
    dense = [0] * (2 + 2 + 2)  # warm-up, timed, observed
    masked = [4, 0] + 2 * [4, 0, 0]  # two layers have a weight and an input each; observed steps reuse thresholds
    assert finds == dense + masked
    assert progress == [(done, 14) for done in range(15)]


def test_without_a_sparsity_only_dense_steps_are_run(tmp_path: Path) -> None:
    found = validate_time(written(tmp_path, NETWORK), input_shape=(3, 8, 8), batch_size=2, repetitions=1)
    assert [each.kernels for each in found.executed] == ["dense"]
    assert found.average is None
    assert found.executed[0].step.measured.quartiles == (found.executed[0].step.measured.median,) * 2


def test_attention_is_two_products_of_one_operation(tmp_path: Path) -> None:
    found = validate_time(
        written(tmp_path, ATTENTION), input_shape=(5, 8), batch_size=2, weights=0.5, acts=0.5, repetitions=1
    )
    assert len(found.estimate.network.counted_layers) == 1 + 2 + 1 + 2 + 1  # q k v, two products, out, MLP, head
    assert not found.unmatched
    for executed in found.executed:
        timed = {(part.layer, part.in_pass) for part in executed.parts if part.layer is not None}
        assert timed == {(place, in_pass) for place in range(7) for in_pass in ("forward", "backward")}


def with_own_kernels(*, over_dense: float) -> Device:
    """A100s whose own kernels take so much of a dense pass, whatever the layer."""
    passes: dict[str, tuple[Any, tuple[KernelPass, ...]]] = {
        "swatcost-weights": ("weights", ("forward", "grad_input")),
        "swatcost-activations": ("activations", ("grad_weight",)),
    }
    own = [
        Kernel(
            name=name, title="made up", operand=operand, pattern="unstructured", kinds=("linear", "conv"),
            measures="nothing", source="made up",
            points=tuple(KernelPoint(each, 64, 64, 64, 0.5, over_dense) for each in own_passes),
        )
        for name, (operand, own_passes) in passes.items()
    ]  # fmt: skip
    return replace(load_device("a100"), kernels=tuple(own))


PLAIN = NETWORK.replace(", groups=2", "")


def test_steps_on_sparse_kernels(tmp_path: Path) -> None:
    """All passes of the last two layers take a quarter; the first is kept dense, and nothing is masked."""
    found = validate_time(
        written(tmp_path, PLAIN), input_shape=(3, 8, 8), batch_size=16, weights=0.5, acts=0.5,
        device=with_own_kernels(over_dense=0.25), repetitions=2,
    )  # fmt: skip
    assert [each.kernels for each in found.executed] == ["dense", "masked", "sparse"]
    dense, _, sparse = found.executed
    assert dense.step.predicted is not None
    layers = {(each.layer, each.in_pass): each for each in sparse.parts if each.layer is not None}
    assert list(layers) == [(place, in_pass) for place in range(3) for in_pass in ("forward", "backward")]
    assert all(min(each.measured.seconds) > 0 for each in layers.values())
    saved = 0.0
    for part in dense.parts:
        if part.layer is not None and part.predicted is not None:
            share = 1.0 if part.layer == 0 else 0.25
            assert layers[part.layer, part.in_pass].predicted == pytest.approx(share * part.predicted)  # type: ignore[index]
            saved += (1 - share) * part.predicted
    assert sparse.step.predicted == pytest.approx(dense.step.predicted - saved)
    assert sum(each.predicted or 0 for each in sparse.parts) == pytest.approx(sparse.step.predicted)
    assert not [each for each in sparse.parts if each.kind == "masking"]  # thresholds are all that kernels need
    for repetition, observed in enumerate(sparse.observed.seconds):
        own = [part for part in sparse.parts if part.in_pass != "update"]
        assert 0 < sum(part.measured.seconds[repetition] for part in own) <= observed
    assert "Sparse steps are the same with the program's own sparse kernels" in " ".join(found.notes)


def test_no_steps_on_sparse_kernels_where_they_are_slower_or_not_asked_for(tmp_path: Path) -> None:
    model = written(tmp_path, PLAIN)
    for over_dense, kernels in ((50.0, "auto"), (0.25, "dense")):
        found = validate_time(
            model, input_shape=(3, 8, 8), batch_size=2, weights=0.5, acts=0.5, repetitions=1,
            device=with_own_kernels(over_dense=over_dense), kernels=kernels,  # type: ignore[arg-type]
        )  # fmt: skip
        assert [each.kernels for each in found.executed] == ["dense", "masked"]
    with pytest.raises(swatcost.SwatcostError, match="kernels 'sparse': choose from auto, dense"):
        validate_time(model, input_shape=(3, 8, 8), kernels="sparse")  # type: ignore[arg-type]


def test_a_product_that_an_observer_is_told_of_is_one_operation() -> None:
    observer, x = StepObserver(), torch.ones(3)
    with watching(observer), observer:
        with watched_product(6):
            _ = x + x
        _ = x * x
    assert [(each.operation, each.multiplies, each.elements) for each in observer.calls] == [
        ("swatcost product", True, 6), ("mul", False, 3),
    ]  # fmt: skip
    with watched_product(6):  # nobody is told
        pass
    assert len(observer.calls) == 2


def call(name: str, in_pass: InPass, seconds: float, node: int | None, elements: int = 1, **more: bool) -> Call:
    multiplies = name in ("mm", "addmm", "bmm", "_scaled_dot_product_flash_attention_for_cpu")
    return Call(name, in_pass, seconds, multiplies, node, elements, more.get("graded", True))


def test_where_the_time_of_an_operation_goes() -> None:
    """A masked layer, one that shares its product's node number with an earlier operation, and other operations."""
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    network = swatcost.trace(module, input_shape=(4,))
    calls = [
        call("abs", "forward", 1, 6, graded=False),  # masks the first layer
        call("where", "forward", 2, 6, graded=False),
        call("addmm", "forward", 4, 7, 5 * 8),
        call("relu", "forward", 8, 8, 5 * 8),
        call("mm", "forward", 16, 8, 3),  # of no layer: its result is too small
        call("addmm", "forward", 32, 9, 5 * 2),
        call("ones_like", "backward", 64, None),
        call("mm", "backward", 128, 9),
        call("sum", "backward", 256, 9),  # the bias's gradient is no product
        call("mm", "backward", 512, 9),
        call("threshold_backward", "backward", 1024, 8),
        call("mm", "backward", 2048, 8),
        call("mm", "backward", 4096, 7),
    ]
    assert by_part(calls, network, 5, ["linear", "linear"]) == {
        PartKey(0, "linear", "forward"): 4,
        PartKey(0, "masking", "forward"): 1 + 2,
        PartKey(None, "elementwise", "forward"): 8,
        PartKey(None, "other products", "forward"): 16,
        PartKey(1, "linear", "forward"): 32,
        PartKey(None, "fill", "backward"): 64,
        PartKey(1, "linear", "backward"): 128 + 512,
        PartKey(None, "reduction", "backward"): 256,
        PartKey(None, "elementwise", "backward"): 1024,
        PartKey(None, "other products", "backward"): 2048,
        PartKey(0, "linear", "backward"): 4096,
    }


def test_one_operation_of_two_layers_is_shared_by_their_macs() -> None:
    """Scores of 5 queries by 4 features, then 5 by 5 scores with 12 features of a value: 4 : 12 of the MACs."""

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.v = nn.Linear(4, 4), nn.Linear(4, 12)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q = self.q(x)
            return (q @ q.transpose(1, 2)).softmax(-1) @ self.v(x)

    network = swatcost.trace(Attention(), input_shape=(5, 4))
    q, scores, v, mixed = network.counted_layers
    network = replace(network, layers=(q, v, scores, mixed))
    fused = "_scaled_dot_product_flash_attention_for_cpu"
    calls = [
        call("addmm", "forward", 1, 1, 2 * 5 * 4),
        call("addmm", "forward", 2, 2, 2 * 5 * 12),
        call(fused, "forward", 16, 3, 2 * 5 * 12),
        call(fused, "backward", 32, 3),
    ]
    parts = by_part(calls, network, 2, ["linear", "linear", "product", "product"])
    assert {key: value for key, value in parts.items() if key.kind == "product"} == {
        PartKey(2, "product", "forward"): 16 * 4 / 16, PartKey(3, "product", "forward"): 16 * 12 / 16,
        PartKey(2, "product", "backward"): 32 * 4 / 16, PartKey(3, "product", "backward"): 32 * 12 / 16,
    }  # fmt: skip


def test_what_a_prediction_is_compared_with() -> None:
    passes, update = Repeated((3.0, 5.0, 4.0)), Repeated((1.0, 2.0, 3.0))
    asked: dict[str, Any] = {"refreshes": False, "passes": passes, "update": update}
    whole = TimedStep(**asked, predicted=9.0, predicts_update=True)
    assert whole.measured.seconds == (4.0, 7.0, 7.0)
    assert whole.error == 9 / 7 - 1
    alone = TimedStep(**asked, predicted=None, predicts_update=False)
    assert (alone.measured, alone.error) == (passes, None)
    assert passes.quartiles == (3.5, 4.5)  # halfway between the median and the next


def test_another_machine_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Captured) -> None:
    monkeypatch.setattr(module_of_validation, "machine", lambda: "AMD EPYC, 2 cores")
    words = ["validate", written(tmp_path, NETWORK), "--input-shape", "3,8,8", "--time", "--repetitions", "1"]
    for device, elsewhere in (("a100", True), ("xeon2", True), (str(tmp_path / "own.toml"), False)):
        if not elsewhere:
            profile = swatcost.devices.load_device("xeon2")
            Path(device).write_text(swatcost.devices.to_toml(replace(profile, title="AMD EPYC 9654, 96 cores")))
        assert main([*words, "--device", device]) == 0
        out = " ".join(capsys.readouterr().out.split())
        assert ("ANOTHER MACHINE" in out) == elsewhere
        assert "Measured here: AMD EPYC, 2 cores, torch" in out
    assert not is_plainly_another("a machine", "AMD EPYC, 2 cores")  # it may be


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    asked = ["--time", "--input-shape", "3,8,8", "--weights", "0.5", "--acts", "0.5", "--repetitions", "2"]
    return ["validate", written(tmp_path, NETWORK), *asked, "--device", "a100"]


def test_the_table(words: list[str], capsys: Captured) -> None:
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    notes = next(place for place, line in enumerate(lines) if line.startswith("- "))
    assert notes <= 30  # which notes follow depends on the machine
    assert main([*words, "--layers"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert ["total" in line for line in out.splitlines()].count(True) == 1


def test_layers_add_up(found: TimeValidation, monkeypatch: pytest.MonkeyPatch) -> None:
    from swatcost.report.time_validation import sheet

    for detail in ("wide", "medium", "narrow"):
        table = sheet(found).layers(detail)  # type: ignore[misc]
        *rows, total = table.rows
        assert [row[0] for row in rows] == [layer.name for layer in found.estimate.network.counted_layers]
        for place, heading in enumerate(table.header):
            if "[ms]" in heading and "half" not in heading:
                printed = sum(float(row[place]) for row in rows)
                assert printed == pytest.approx(float(total[place]), abs=0.0006 * len(rows))


def test_json_and_csv(words: list[str], capsys: Captured) -> None:
    assert main([*words, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "swatcost.time_validation/1"
    assert (found["device"], found["repetitions"], found["basis"]) == ("a100", 2, "bound")
    assert (found["setting"]["device"], found["setting"]["selection"]) == ("a100", "exact")
    assert [each["kernels"] for each in found["executed"]] == ["dense", "masked"]
    assert [step["refreshes"] for step in found["executed"][1]["steps"]] == [False, True]
    assert main([*words, "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    parts = sum(len(each["parts"]) + len(each["steps"]) for each in found["executed"])
    assert len(rows) == parts
    assert {row["kernels"] for row in rows} == {"dense", "masked"}


@pytest.mark.parametrize("format", ["markdown", "latex"])
def test_other_forms(format: str, words: list[str], capsys: Captured) -> None:
    assert main([*words, "--format", format]) == 0
    assert "masked, thresholds reused" in capsys.readouterr().out
    assert main([*words, "--layers", "--format", format]) == 0
    assert "total" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--steps", "3"], "--steps: --repetitions says how many steps of each kind are timed, leave it out"),
        (["--bound", "0.1"], "--bound: it is a bound on differences in MACs, leave it out"),
        (["--lr", "0.1"], "--lr: times do not depend on it, leave it out"),
        (["--data", "digits"], "--data: times do not depend on data, leave it out"),
        (["--over", "chw"], "--over: predicted times are those of one threshold per tensor, leave it out"),
        (["--ahead", "1"], "--ahead: a selection that starts early takes as long, leave it out"),
        (["--optimizer", "adamw"], "--optimizer: steps are executed with SGD with momentum, leave it out"),
        (["--repetitions", "0"], "repetitions 0: give a whole number"),
        (["--batch-size", "1000000000"], "batch_size 1000000000: a step takes"),
        (["--device", "bit-tactical"], "device bit-tactical: an accelerator's cycles are simulated, give a device"),
        (["--selection", "radix"], "selection 'radix' was not timed on a100"),
    ],
)
def test_what_cannot_be_timed(more: list[str], said: str, words: list[str], capsys: Captured) -> None:
    replaced = words.index(more[0]) if more[0] in words else len(words)
    given = [*words[:replaced], *words[replaced + 2 :]]
    assert main([*given, *more]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"swatcost: {said}")
    assert err.count("\n") == 1


def test_a_method_that_cannot_be_run_is_refused_before_anything_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(TrainingStep, "timed")
    with pytest.raises(swatcost.SwatcostError, match="method 'rigl' is estimated, not run"):
        validate_time(written(tmp_path, NETWORK), input_shape=(3, 8, 8), weights=0.5, method="rigl")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--device", "a100"], "--device: the reference runs on this machine, give --time to compare times, or leave"),
        (["--repetitions", "3"], "--repetitions: steps are timed with --time, give it or leave this out"),
        (["--kernels", "dense"], "--kernels: steps are timed with --time, give it or leave this out"),
    ],
)
def test_what_only_times_take(more: list[str], said: str, tmp_path: Path, capsys: Captured) -> None:
    assert main(["validate", written(tmp_path, NETWORK), "--input-shape", "3,8,8", *more]) == 2
    assert capsys.readouterr().err.startswith(f"swatcost: {said}")


def test_a_network_that_raises(tmp_path: Path, capsys: Captured) -> None:
    words = ["validate", written(tmp_path, FAILS), "--input-shape", "4", "--time", "--batch-size", "5"]
    assert main(words) == 2
    err = capsys.readouterr().err.splitlines()
    assert err[-1] == "swatcost: the network raised ValueError on a batch of 5: five is too many"


def test_a_trace_cannot_be_run(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "net.json"
    path.write_text(swatcost.trace(nn.Linear(4, 2), input_shape=(4,)).to_json())
    assert main(["validate", str(path), "--time"]) == 2
    assert "is a trace, which cannot be run" in capsys.readouterr().err


def test_an_option_without_effect_is_said(tmp_path: Path, capsys: Captured) -> None:
    words = ["validate", written(tmp_path, NETWORK), "--input-shape", "3,8,8", "--time", "--repetitions", "1"]
    assert main([*words, "--period", "7"]) == 0
    assert "--period has no effect here: nothing that Top-K selects is sparse" in capsys.readouterr().err


def test_masked_steps_are_predicted_without_sparse_kernels() -> None:
    """Even where one would be faster; and a weight that is used twice is masked once."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shared, self.head = nn.Linear(64, 64), nn.Linear(64, 64)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.head(self.shared(self.shared(x).relu()).relu())
            return found

    point = KernelPoint(in_pass="forward", rows=8, inner=64, outer=64, density=0.5, time_over_dense=0.1)
    kernel = Kernel(
        name="fast", title="A fast kernel", operand="weights", pattern="unstructured", kinds=("linear",),
        precision="fp32", measures="the product", source="made up", points=(point,),
    )  # fmt: skip
    device = replace(load_device("a100"), kernels=(kernel,))
    network = swatcost.trace(Twice(), input_shape=(64,))
    estimate = swatcost.estimate(network, weights=0.5, acts=0.5, batch_size=8, device=device)
    assert "fast" in estimate.attainable_step.kernels
    predictions = Predictions(estimate)
    # 2 · 4 bytes per element at 2,039 GB/s: a weight and twice its input, then another weight and its input; the
    # first layer is kept dense, and so is its weight in the second call
    sizes = {2: (64 * 64, 8 * 64)}
    masking = {PartKey(place, "masking", "forward"): 8 * sum(own) / 2.039e12 for place, own in sizes.items()}
    assert predictions.masking == pytest.approx(masking)
    assert predictions.masked == pytest.approx(estimate.dense_step.seconds + sum(masking.values()))

    sparse = swatcost.estimate(network, weights=0.5, acts=0.5, batch_size=8, device=device, first_layer="sparse")
    predictions = Predictions(sparse)
    sizes = {0: (64 * 64, 8 * 64), 1: (8 * 64,), 2: (64 * 64, 8 * 64)}
    masking = {PartKey(place, "masking", "forward"): 8 * sum(own) / 2.039e12 for place, own in sizes.items()}
    assert predictions.masking == pytest.approx(masking)
    assert predictions.masked == pytest.approx(sparse.dense_step.seconds + sum(masking.values()))
