"""Published times as data: sparse kernels, whole steps and peaks, held against what their sources print."""

from __future__ import annotations

from collections import Counter
from importlib.resources import files
from math import prod
from statistics import median

import pytest

import swatcost
from swatcost.devices import load_device
from swatcost.published.cell import lines
from swatcost.published.sparse_kernels import KernelTime, kernel_time, of_profiles, without_profile
from swatcost.published.step_times import RESNET50_TRAINING_MACS, StepTime, step_times, utilisation_ranges

TFLOPS = {  # dense, as printed, or half of what is printed "with sparsity"
    "a100": {"fp32": 19.5, "tf32": 156, "bf16": 312, "fp16": 312},
    "h100": {"fp32": 67, "tf32": 989 / 2, "bf16": 1979 / 2, "fp16": 1979 / 2, "fp8": 3958 / 2},
    "h200": {"fp32": 67, "tf32": 989 / 2, "bf16": 1979 / 2, "fp16": 1979 / 2, "fp8": 3958 / 2},
    "v100": {"fp32": 15.7, "fp16": 125},
    "rtx2080ti": {"fp32": 4352 * 2 * 1.545e-3, "fp16": 544 * 64 * 1.545e-3},  # cores or MACs, GHz; fp16 halved
    "rtx3060": {"fp32": 3584 * 2 * 1.777e-3, "tf32": 112 * 64 * 1.777e-3, "bf16": 112 * 128 * 1.777e-3,
                "fp16": 112 * 128 * 1.777e-3},
}  # fmt: skip
LINKS = {"a100": 600, "h100": 900, "h200": 900, "v100": 300}  # GB/s, both directions together


@pytest.mark.parametrize("name", TFLOPS)
def test_peaks_are_the_data_sheets_dense_rates(name: str) -> None:
    device = load_device(name)
    rates = {each.name: 2 * each.macs_per_second / 1e12 for each in device.precisions}
    assert rates == pytest.approx(TFLOPS[name], rel=0.002)
    assert all(each.source for each in device.precisions)
    if name in LINKS:
        assert device.link_bytes_per_second == LINKS[name] * 1e9 / 2


def test_kernels_have_one_home() -> None:
    named = {each.device for each in of_profiles()}
    assert named == {load_device(name).title for name in ("a100", "h100", "rtx3060")}
    for each in without_profile():
        assert each.device not in named
        assert "not named" in each.device or each.device in (
            "NVIDIA A100",  # a prototype
            "NVIDIA GeForce RTX 4070 Ti SUPER",
            "an AMD GPU, gfx942 or gfx950",
        )
    times = without_profile()
    shapes = [(e.device, e.kernel, e.in_pass, e.kind, e.stride, e.rows, e.inner, e.outer, e.density) for e in times]
    assert max(Counter(shapes).values()) == 1


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("pattern", "3:4", "pattern"),
        ("pass", "backwards", "in_pass"),
        ("kind", "attention", "kind"),
        ("precision", "fp64", "precision"),
        ("rows", "0", "rows"),
        ("inner", "1.5", "inner"),
        ("density", "0", "density"),
        ("time_over_dense", "0", "time_over_dense"),
        ("density", "0.25", "2:4 with density 0.25"),
    ],
)
def test_a_malformed_kernel_time_is_refused(column: str, value: str, said: str) -> None:
    line = next(each for each in lines("sparse_kernels.csv") if each["pattern"] == "2:4")
    assert kernel_time(line) in without_profile()
    with pytest.raises(ValueError, match=said):
        kernel_time(line | {column: value})


def _one(times: list[KernelTime], **wanted: object) -> KernelTime:
    (found,) = [each for each in times if all(getattr(each, name) == value for name, value in wanted.items())]
    return found


def test_kernel_times_are_what_the_sources_print() -> None:
    ours = of_profiles()
    a100 = load_device("a100").title
    # pytorch/ao #184: 9204.7 µs against 11534.3; its README: 1.24 and 1.27 times as fast
    for inner, outer in ((1024, 4096), (4096, 1024)):
        mlp = _one(ours, device=a100, kernel="semi-sparse-mlp", rows=44160, inner=inner, outer=outer)
        assert mlp.time_over_dense == pytest.approx(9204.7 / 11534.3, rel=1e-4)
    for inner, outer, speedup in ((1024, 4096, 1.24), (4096, 1024, 1.27)):
        linear = _one(ours, device=a100, kernel="semi-sparse-linear", inner=inner, outer=outer)
        assert 1 / linear.time_over_dense == pytest.approx(speedup, abs=0.005)
    # the tutorial: 1.382 times as fast, from unrounded times
    assert 1 / _one(ours, device=a100, kernel="cutlass").time_over_dense == pytest.approx(1.382, abs=0.005)
    # pytorch/ao #174, the column "speedup (d/s)"
    rtx = {each.rows: 1 / each.time_over_dense for each in ours if each.device == load_device("rtx3060").title}
    printed = {3072: 1.935469, 4096: 1.971237, 5120: 1.916932, 6144: 1.853870, 7168: 1.926930, 8192: 1.844146,
               9216: 1.738509, 10240: 1.723521, 11264: 1.732594, 12288: 1.705004, 13312: 1.712012,
               14336: 1.726686}  # fmt: skip
    assert rtx == pytest.approx(printed, rel=1e-4)


def test_times_without_a_profile_are_what_the_sources_print() -> None:
    others = without_profile()
    ti = {e.rows: 1 / e.time_over_dense for e in others if e.device == "NVIDIA GeForce RTX 4070 Ti SUPER"}
    assert (ti[3072], ti[8192], ti[13312]) == pytest.approx((1.92722, 1.45462, 1.3806), rel=1e-4)
    # SparseProp, 64 channels at 56 x 56: 0.65379 s forward and 1.59970 backward, sparse 0.24249 and 0.54146
    conv = {e.in_pass: e.time_over_dense for e in others if (e.kernel, e.inner, e.outer) == ("SparseProp", 576, 64)}
    assert conv["forward"] == pytest.approx(0.24249 / 0.65379, rel=1e-4)
    assert conv["training"] == pytest.approx((0.24249 + 0.54146) / (0.65379 + 1.59970), rel=1e-4)
    # the notebook, 95 %, batch 2048: 788.6 µs dense, 326.7 condensed, 4419.2 CSR
    fan = _one(others, pattern="constant fan-in", rows=2048, density=0.05)
    csr = _one(others, kernel="CSR through torch", rows=2048, density=0.05)
    assert (fan.time_over_dense, csr.time_over_dense) == pytest.approx((326.7 / 788.6, 4419.2 / 788.6), rel=1e-4)


def test_steps_are_well_formed() -> None:
    text = (files("swatcost.published") / "step_times.csv").read_text(encoding="utf-8")
    assert len(step_times()) == len(text.splitlines()) - 1
    for each in step_times():
        assert all((each.model, each.gpu, each.source, each.value > 0))
        assert (each.mfu is None) == (each.peak_tflops is None)
        if each.width and each.heads:
            assert each.width % each.heads == 0
    whole = [e for e in step_times() if e.flops and e.per_second and e.gpus and e.in_pass == "training"]
    assert len(whole) > 25
    assert {e.family for e in whole} == {"decoder", "encoder", "convolutional"}


def _product(*numbers: int | None) -> int:
    assert None not in numbers
    return prod(each or 0 for each in numbers)


def _steps(source: str) -> list[StepTime]:
    return [each for each in step_times() if each.source.startswith(source)]


@pytest.mark.parametrize("step", _steps("mosaicml"), ids=lambda e: f"{e.model} {e.sequence} {e.gpus}x{e.gpu} {e.batch}")
def test_a_printed_utilisation_follows_from_its_tokens_per_second(step: StepTime) -> None:
    assert step.parameters is not None
    assert step.gpus is not None
    assert step.mfu is not None
    flops = 3 * (2 * step.parameters + 4 * _product(step.layers, step.width, step.sequence))  # per token, their README
    dense = {"H100 80GB": 989.5e12, "A100 80GB": 312e12, "A100 40GB": 312e12}[step.gpu]
    percent = 100 * flops / (step.gpus * dense * (2 if step.precision == "fp8" else 1))
    # MFU is rounded to 0.01 %, tokens per second are cut to an integer
    assert percent * step.value - 0.0051 < step.mfu < percent * (step.value + 1) + 0.0051
    assert step.utilisation == pytest.approx(percent * step.value, rel=1e-9)


def test_mosaics_parameters_follow_from_its_shapes() -> None:
    for e in _steps("mosaicml"):
        products = 12 * _product(e.layers, e.width, e.width)
        embeddings = _product(e.vocabulary, e.width) + _product(e.sequence, e.width)
        layer = 13 * _product(e.layers, e.width)  # biases 3 + 1 + 4 + 1; two norms of 2 each
        last = 2 * _product(e.width)
        assert e.parameters == products + embeddings + layer + last


def test_other_printed_utilisations() -> None:
    # 874,944,921,600 FLOPs per sequence, 100 of them in 0.755 s
    (gpt,) = [e for e in _steps("karpathy") if e.mfu]
    assert gpt.flops == 874_944_921_600 / 1024
    assert gpt.utilisation == pytest.approx(100 * 100 * 874_944_921_600 / 0.755 / 312e12)
    assert gpt.utilisation == pytest.approx(37.14, abs=0.005)
    # Llama 3.1 8B: 6 · (8,030,261,248 − 525,336,576) + 12 · 32 · 4096 · 8192 = 45,029,548,032 + 12,884,901,888 FLOPs
    for e in (e for e in _steps("pytorch/torchtitan") if e.mfu):
        assert e.flops == 45_029_548_032 + 12_884_901_888
        assert e.utilisation == pytest.approx(e.mfu, abs=1)  # "33% to 39%"
    for e in _steps("AI-Hypercomputer"):  # TFLOP/s are printed without decimals
        assert e.peak_tflops is not None
        assert e.utilisation == pytest.approx(e.mfu, abs=50 / e.peak_tflops + 0.05)


def test_no_step_is_faster_than_its_peak() -> None:
    reached = [e for e in step_times() if e.utilisation is not None]
    assert len(reached) > 250
    assert max(e.utilisation or 0 for e in reached) < 100
    assert {e.gpu for e in step_times() if e.peak_tflops and e.gpu.startswith("H100")} == {
        "H100 80GB", "H100 96GB HBM2e, 500 W"
    }  # fmt: skip
    assert {e.peak_tflops for e in step_times() if e.gpu.startswith("H100") and e.precision == "bf16"} <= {
        989.5, 989, None
    }  # fmt: skip


def test_resnet50_is_counted_as_everywhere() -> None:
    assert swatcost.estimate("resnet50").exact.training.dense == RESNET50_TRAINING_MACS
    # 938 images/s in TF32: 938 · 2 · 12.1495 GMAC / 156 TFLOP/s
    (step,) = [e for e in _steps("NVIDIA/Deep") if (e.model, e.gpus, e.precision) == ("resnet50", 1, "tf32")]
    assert step.utilisation == pytest.approx(100 * 938 * 2 * 12.149538816e9 / 156e12)
    assert step.utilisation == pytest.approx(14.6, abs=0.05)


def test_ranges_are_those_of_their_steps() -> None:
    ranges = {(e.gpu, e.family, e.precision): e for e in utilisation_ranges()}
    printed = [e.mfu for e in _steps("mosaicml") if e.gpu == "H100 80GB" and e.precision == "bf16" and e.mfu]
    found = ranges["H100 80GB", "decoder", "bf16"]
    assert found.count == len(printed)
    assert (found.least, found.median, found.most) == pytest.approx(
        (min(printed), median(printed), max(printed)), abs=0.02
    )
    assert sum(each.count for each in ranges.values()) == len([e for e in step_times() if e.utilisation is not None])


def test_two_four_end_to_end() -> None:
    dense, sparse = [e.value for e in _steps("pytorch/ao, torchao/sparsity/training") if e.in_pass == "training"]
    assert 1 - sparse / dense == pytest.approx(0.06, abs=0.005)  # "6% e2e speedup"
    bert = _steps("pytorch/tutorials #3236")
    speedups = [bert[i].value / bert[i + 1].value for i in range(0, len(bert), 2)]
    assert speedups == pytest.approx([0.57, 0.51, 0.51, 0.40, 0.95, 0.90, 0.79, 0.73], abs=0.006)  # as printed
    text = _steps("pytorch/tutorials, advanced")
    speedups = [text[i].value / text[i + 1].value for i in range(0, len(text), 2)]
    assert speedups == pytest.approx(
        [0.71, 1.23, 1.22, 1.16, 1.02, 1.18, 1.13, 1.12], abs=0.01
    )  # it prints 1.14 for 1.16
