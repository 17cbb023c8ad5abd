"""The kernels and steps that benchmarks/SPARSE_KERNELS.md compares compute the same, and its limits are right."""

import pytest
import torch
from torch import Tensor, nn

from benchmarks import sparse_kernels, sparse_steps
from benchmarks.kernel_contenders import BOTH_GRADIENTS, CSR, DENSE, OWN, Measured, contenders, threshold
from benchmarks.sparse_kernels import Time, Times, bound, dense_macs, moved_bytes, reached
from benchmarks.sparse_steps import Steps, Training, Way, report_of_steps
from benchmarks.step_networks import Timed
from swatcost.network.passes import PASSES, Pass
from swatcost.reference.measured_kernels import mask
from swatcost.reference.measured_operations import Convolution, Linear, dense, operands_of
from swatcost.reference.timer import Timing

_TINY: tuple[Measured, ...] = (
    Convolution(16, 16, 32, 4, 3), Convolution(16, 16, 32, 4, 3, 2), Convolution(16, 32, 16, 4, 1), Linear(16, 64, 32),
)  # fmt: skip
_DENSITY = 0.25

pytestmark = pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state")


def _masked(kernel: str, x: Tensor) -> Tensor:
    """The elements of an operand that a kernel counts."""
    if kernel == DENSE:
        return x
    kept = mask(tuple(x.shape), _DENSITY, "cpu").bool() if kernel == CSR else x.abs() > threshold(_DENSITY)
    return torch.where(kept, x, 0)


@pytest.mark.parametrize("in_pass", PASSES)
@pytest.mark.parametrize("shape", _TINY, ids=lambda shape: shape.name)
def test_every_kernel_computes_the_pass(shape: Measured, in_pass: Pass) -> None:
    operands = operands_of(shape, "fp32", "cpu")
    found = contenders(shape, in_pass, (_DENSITY,))
    assert {each.kernel for each in found} >= {DENSE, OWN}
    for each in found:
        if each.in_pass == BOTH_GRADIENTS or each.kernel not in (DENSE, OWN, CSR):
            continue  # SparseProp's, in its own order of memory
        fresh, stale = operands.read_by(in_pass)
        expected = _only(dense(shape, in_pass, operands)(fresh, _masked(each.kernel, stale)))
        result = _only(each.operation(*each.arguments())).reshape(expected.shape)
        # the operand that is written anew changes its sign each time
        closest = min((result - expected).abs().max(), (result + expected).abs().max())
        assert closest < 1e-4, each.kernel


def _only(result: object) -> Tensor:
    """The one tensor of a kernel's results."""
    (tensor,) = [each for each in (result if isinstance(result, tuple) else (result,)) if each is not None]
    assert isinstance(tensor, Tensor)
    return tensor


def test_limits_by_hand() -> None:
    shape = Convolution(2, 3, 5, 4, 3)
    # of 4 positions in a row, the first and last have 2 taps inside, the others 3: 10; 2 · 3 · 5 · 10²
    assert dense_macs(shape) == 3000
    # input 2 · 3 · 4², weight 5 · 3 · 3², output 2 · 5 · 4²: 96 + 135 + 160 numbers of 4 bytes
    assert moved_bytes(shape) == 1564
    # stride 2: at 8 pixels, of 4 positions the first alone has 2 taps inside: 11; 2 · 3 · 5 · 11²
    assert dense_macs(Convolution(2, 3, 5, 4, 3, 2)) == 3630
    assert dense_macs(Linear(2, 3, 5)) == 30
    # 3000 · 0.1 / 100 per second = 3 s; 1564 / 1000 = 1.564 s
    assert bound(shape, _time(OWN, shape, "forward", 0.1, 9.0)) == pytest.approx(3)
    # 3000 · 0.05 / 100 = 1.5 s
    assert bound(shape, _time(OWN, shape, "forward", 0.05, 9.0)) == pytest.approx(1.564)


def _time(kernel: str, shape: Measured, in_pass: str, density: float, seconds: float) -> Time:
    return Time(kernel, shape.name, in_pass, density, seconds, 0.0, 100.0, 1000.0, 0.0)


def test_the_report_says_where_the_aim_is_not_reached() -> None:
    layer = sparse_kernels.THREE_BY_THREE[0]
    taken = {"forward": 1.0, "grad_input": 2.0, "grad_weight": 5.0}  # of 4 s: 4, 2 and 0.8 times as fast
    times = [_time(DENSE, layer, each, 1.0, 4.0) for each in PASSES]
    found = Times((*times, *(_time(OWN, layer, each, 0.1, seconds) for each, seconds in taken.items())))
    said = reached(found)
    assert "forward in 1 of 1 layers (lowest 4.00" in said
    assert "grad_input in 1 of 1 layers (lowest 2.00" in said
    assert "grad_weight in 0 of 1 layers (lowest 0.80" in said
    assert "| 4.00 | 2.00 | *0.80* |" in sparse_kernels.table_of_aim(found)
    assert "| 4.00 s | 1.00 s |" in sparse_kernels.report(found, [])


def test_a_shape_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def once(pairs: object, on: str) -> list[Timing]:
        assert isinstance(pairs, list)
        for operation, arguments in pairs:
            operation(*arguments())
        return [Timing(seconds=1.0, spread=0.0, repetitions=1) for _ in pairs]

    monkeypatch.setattr(sparse_kernels, "together", once)
    monkeypatch.setattr(sparse_kernels, "COPIED", 2**16)
    monkeypatch.setattr(sparse_kernels, "_FAR_SLOWER", 1e9)
    times = sparse_kernels.measured(Linear(16, 32, 16), "forward", (_DENSITY,))
    assert {DENSE, OWN, CSR} <= {each.kernel for each in times}
    assert {each.density for each in times if each.kernel == OWN} == {_DENSITY}


def test_the_average_step_has_its_share_of_a_step_that_finds_thresholds() -> None:
    own, torchs = Way("sparse", 0.9), Way(None, 0.0)
    steps = Steps("some", {own.name: (1.0, 2.0, 3.0), torchs.name: (4.0, 4.2, 4.4)}, {own.name: (12.0,)}, {}, 0.0)
    assert steps.average(own) == pytest.approx(2.1)  # 2 + (12 − 2) / 100
    assert steps.speedup(own) == pytest.approx(2.0)  # 4.2 / 2.1
    assert Steps.of(steps.record()) == steps


def test_steps_are_measured_and_reported() -> None:
    def build() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4),
        )  # fmt: skip

    timed = Timed(build, (3, 8, 8), (16,))
    found = sparse_steps.measured("tiny", timed, batch_size=16, rounds=1)
    assert set(found.reusing) == {way.name for way in sparse_steps.WAYS}
    assert set(found.finding) == {way.name for way in sparse_steps.WAYS[1:]}
    parts = found.parts[Way("sparse", 0.9).name]
    for each in ("forward products", "grad_input products", "grad_weight products", "packing", "normalisation"):
        assert parts[each] > 0, each
    assert found.parts[Way(None, 0.0).name]["forward products"] == 0
    text = "\n".join(report_of_steps([found]))
    assert "tiny: sparse kernels, 95 %" in text


def test_sparse_steps_train_as_masked_ones() -> None:
    def build() -> nn.Module:
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))

    timed = Timed(build, (8,), (16,))
    losses = []
    for kernels in ("dense", "sparse"):
        training = Training(timed, Way(kernels, 0.5), 16)  # type: ignore[arg-type]
        losses.append([float(training.step().detach()) for _ in range(3)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_the_steadiest_try_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it shows: a try is not chosen by its times."""
    spreads = iter((0.5, 0.3, 0.4))

    def tried(shape: Measured, found: object) -> list[Time]:
        spread = next(spreads)
        return [Time(DENSE, shape.name, "forward", 1.0, 10 * spread, spread, 100.0, 1000.0, 0.0)]

    monkeypatch.setattr(sparse_kernels, "_tried", tried)
    assert [each.spread for each in sparse_kernels.measured(_TINY[3], "forward", ())] == [0.3]
