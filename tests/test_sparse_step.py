"""What sparse training saves, added up by hand on written-down networks, and laws that it keeps."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swatcost.memory import step_memory
from swatcost.memory.dense_step import Peak, StepMemory, training_memory
from swatcost.memory.execution import Execution
from swatcost.memory.held_weights import HeldWeights
from swatcost.memory.sparse_step import Kept, SparseMemory, sparse_memory
from swatcost.memory.weight_storage import WeightStorage
from swatcost.network import Network, SavedTensor, Storage
from swatcost.planning import memory_of
from swatcost.report.memory_tables import kept_as

from .by_hand import (
    as_input,
    cannot_be_changed,
    chain,
    fork,
    grows,
    linear,
    plan_of,
    saved_by,
    stays,
    weight_of,
    with_cross_entropy,
)

QUARTER_LEFT = (0.0, 0.75, 0.75)  # of the fork's a, b and c


def sparse(network: Network, sparsities: tuple[float | tuple[float, float], ...], **how: str) -> SparseMemory:
    """32 samples of momentum."""
    step = training_memory(network, precision=how.pop("precision", "fp32"))
    return sparse_memory(network, plan_of(network, sparsities, **how), step)


def test_the_fork_by_hand() -> None:
    """x takes 32 · 8 · 4 = 1024 bytes; relu 32 · 16 · 4 = 2048, a quarter of its 512 values left for b and for c."""
    memory = sparse(with_cross_entropy(fork()), QUARTER_LEFT)
    assert memory.kept == (
        Kept(0, "layer input", 1024, 1024, 1024, "dense", signs=False, sparsity=0.0),
        # masked: copies of b and c beside relu's; a bitmap, 128 values and a bit per element for relu
        Kept(2, "relu", 2048, 3 * 2048, 512 // 8 + 128 * 4 + 512 // 8, "bitmap", signs=True, sparsity=0.75),
    )
    assert memory.inputs == 1
    assert memory.naive_weights.saved_copies == 2 * 64 * 4  # of b and c
    assert memory.compressed_weights.saved_copies == 2 * (64 // 8 + 16 * 4)  # bitmaps with 16 values
    assert memory.thresholds == 2 * (4 + 4)  # of each weight and each input, in 4 bytes
    assert memory.dense.loss == 772
    assert memory.naive == 1024 + 3 * 2048 + 512 + 772
    assert memory.compressed == 1024 + 640 + 144 + 16 + 772
    assert memory.naive_peak == memory.dense.peak.bytes + memory.naive - (1024 + 2048 + 772)
    assert cannot_be_changed(memory)
    assert all(map(cannot_be_changed, memory.kept))


def test_what_a_frozen_layer_costs() -> None:
    """c is frozen: it keeps no input, but its masked weight leads the gradient back."""
    memory = sparse(fork(frozen=True), QUARTER_LEFT)
    assert [each.naive for each in memory.kept] == [1024, 2 * 2048]
    assert (memory.naive_weights.saved_copies, memory.compressed_weights.saved_copies) == (512, 144)
    assert memory.thresholds == (4 + 4) + 4  # no threshold for the input of c
    assert sparse(fork(frozen=True), (0.0, 0.75, 0.0)).kept[1].sparsity == 0.75


def test_break_even_by_hand() -> None:
    """The largest sparse tensor is relu's: 32 rows of 16 columns, 512 values, 2048 bytes."""
    assert sparse(fork(), QUARTER_LEFT).break_even == {
        "dense": 0.0,
        "bitmap": 1 - 1 / 32,  # 512 / 8 bytes of 2048
        "csr": round((2048 - 33 * 2) / (512 * 5), 6),  # 33 pointers of 2 bytes; index and value
        "coo": round(2048 / (512 * 6), 6),
        "rle": pytest.approx(2048 / (512 * 4.5), abs=1e-6),  # no run of 16 zeros to speak of
        "n:m": round(2048 / (512 * 4.25), 6),
    }
    short = replace(fork(), storages=(*fork().storages[:2], stays(40), *fork().storages[3:]))
    assert sparse(short, QUARTER_LEFT).break_even["csr"] == round((128 - 33) / (32 * 5), 6)  # in whole columns
    # without one it is a column of 32, whose 33 pointers have a byte
    assert sparse(fork(), (0, 0, 0)).break_even["csr"] == round((128 - 33) / (32 * 5), 6)
    assert sparse(fork(), QUARTER_LEFT, precision="bf16").break_even["csr"] == round((1024 - 33 * 2) / (512 * 3), 6)


def kept(
    *saved: SavedTensor, storage: Storage | None = None, sparsity: float = 0.75, precision: str = "fp32"
) -> tuple[int, str | None, bool]:
    """How storage 2 of the fork, 512 elements at 32 samples, is kept: bytes, format, a bit per element."""
    network = fork()
    network = replace(
        network, storages=(*network.storages[:2], storage or grows(16), *network.storages[3:]), saved=saved
    )
    (found,) = sparse(network, (0, sparsity, sparsity), precision=precision).kept
    return found.compressed, found.format, found.signs


B, RELU, POOL = as_input(2, "b"), saved_by(2, "relu"), saved_by(2, "max_pool2d_with_indices")


def test_how_a_tensor_is_kept() -> None:
    assert kept(B) == (64 + 128 * 4, "bitmap", False)
    assert kept(B, RELU) == (64 + 128 * 4 + 64, "bitmap", True)
    assert kept(RELU, B) == (64 + 128 * 4 + 64, "bitmap", True)
    for name in ("relu_", "threshold", "threshold_backward"):
        assert kept(saved_by(2, name)) == (64, None, True)
    assert kept(RELU) == kept(RELU, RELU) == (64, None, True)  # no layer needs the values
    assert kept(*(saved_by(2, name) for name in ("relu", "relu_", "threshold", "threshold_backward"))) == kept(RELU)
    assert kept(RELU, storage=stays(5)) == (1, None, True)  # 5 bits
    assert kept(RELU, sparsity=0.0) == (64, None, True)
    assert kept(B, RELU, sparsity=0.0) == (2048, "dense", False)
    assert kept(B, RELU, POOL) == kept(B, POOL) == kept(POOL) == kept(RELU, POOL) == (2048, "dense", False)
    assert kept(B, sparsity=0.99) == (31, "coo", False)  # 5.12 values of 1 + 1 + 4 bytes: 30.72


def test_the_first_operation_is_named() -> None:
    network = replace(fork(), saved=(as_input(2, "b"), RELU, POOL))
    assert [each.operation for each in sparse(network, QUARTER_LEFT).kept] == ["relu"]


def test_a_format_that_does_not_pay_is_not_used() -> None:
    # bitmap 64 + 512 · 0.95 · 4 = 2009.6; with ReLU's bits 2073.6, more than 2048
    assert kept(B, sparsity=0.05) == (2010, "bitmap", False)
    assert kept(B, RELU, sparsity=0.05) == (2048, "dense", False)
    assert kept(B, RELU, sparsity=1 / 16) == (2048, "dense", False)  # 64 + 480 · 4 + 64 is no less
    assert kept(B, sparsity=0.01) == (2048, "dense", False)  # 64 + 506.88 · 4


def test_whole_numbers_are_kept_as_they_are() -> None:
    indices = grows(16, float_bytes=0)
    assert kept(B, storage=indices) == kept(RELU, storage=indices) == (2048, "dense", False)


def test_values_of_other_sizes() -> None:
    """2048 bytes are 1024 values of 2 bytes, 256 of 8, or 512 of 4, which mixed precision halves."""
    assert kept(B, storage=grows(16, float_bytes=2)) == (1024 // 8 + 256 * 2, "bitmap", False)
    assert kept(B, storage=grows(16, float_bytes=8)) == (256 // 8 + 64 * 8, "bitmap", False)
    # what does not grow with the batch has less than a column for each of 32 rows: a bit per element all the same
    assert kept(B, storage=stays(40)) == (40 // 8 + 10 * 4, "bitmap", False)
    assert kept(B, storage=stays(8)) == (1 + 2 * 4, "bitmap", False)
    assert kept(B, precision="mixed") == (512 // 8 + 128 * 2, "bitmap", False)
    assert kept(B, storage=grows(16, float_bytes=2), precision="mixed") == (1024 // 8 + 256 * 2, "bitmap", False)


@pytest.mark.parametrize(
    ("format", "signs", "words"),
    [
        ("dense", False, "dense"),
        ("csr", False, "csr"),
        ("bitmap", True, "bitmap, 1 bit per element for ReLU"),
        (None, True, "1 bit per element for ReLU"),
    ],
)
def test_words_for_how_a_tensor_is_kept(format: str | None, signs: bool, words: str) -> None:
    assert kept_as(Kept(0, "relu", 32, 64, 8, format, signs, sparsity=0.5)) == words


def copies(
    sparsity: float,
    method: str = "swat",
    distribution: str = "uniform",
    pattern: tuple[int, int] | None = None,
    **flags: bool,
) -> tuple[int, int]:
    """Copies of one weight of 4 rows and 600 columns, as dense tensors and in its smallest format."""
    layer = linear("w", 600, 4, reads=0, first=flags.get("first", False), trains=flags.get("trains", True))
    network = replace(chain(600, 4), layers=(layer,), parameters=(weight_of(layer),), saved=())
    step = training_memory(network)
    plan = plan_of(network, (sparsity,), method=method, distribution=distribution, pattern=pattern)
    memory = sparse_memory(network, plan, step)
    return memory.naive_weights.saved_copies, memory.compressed_weights.saved_copies


def test_copies_of_weights_by_hand() -> None:
    dense = 2400 * 4
    assert copies(0.0) == (0, 0)
    assert copies(0.75) == (dense, 300 + 600 * 4)  # a bitmap
    assert copies(0.99) == (dense, 24 * (2 + 4) + 5 * 2)  # CSR: 24 values with indices of 2 bytes, 5 pointers of 2
    assert copies(0.75, pattern=(1, 4)) == (dense, 600 * 4 + 600 * 2 // 8)  # values and 2 bits each
    assert copies(0.75, pattern=(2, 8)) == (dense, 600 * 4 + 600 * 3 // 8)  # and 3 bits each
    assert copies(0.625, pattern=(3, 8)) == (dense, 900 * 4 + 300)  # a bitmap: 3 bits each would be 337.5 bytes
    assert copies(0.75, distribution="erk") == copies(0.75, distribution="er") == copies(0.75)
    assert copies(0.02) == (dense, 0)  # 300 + 2352 · 4 is more than dense: the threshold masks the parameter
    assert copies(0.75, trains=False) == (dense, 2700)  # frozen, but the gradient passes
    # nothing reads the weight: masked code keeps it anyway if it keeps the input, a format need not
    assert copies(0.75, first=True) == (dense, 0)
    assert copies(0.75, first=True, trains=False) == (0, 0)
    assert copies(0.75, method="dst") == (dense, 2700)
    assert copies(0.75, method="dst") == (dense, 2700)
    assert copies(0.75, method="rigl") == (dense, 0)  # its parameters are sparse themselves
    assert copies(0.75, method="snfs") == (dense, 0)  # they are here as well, though its gradients are not
    assert copies(0.75, method="snfs") == (dense, 0)  # they are here as well, but not gradients and momentum
    assert copies(0.75, method="meprop") == (0, 0)  # its weights are dense


@pytest.mark.parametrize(
    ("pattern", "bits"),
    [("1:4", 2), ("2:8", 3), ("1:16", 4)],  # for the place of a value among 4, 8 and 16
)
def test_copies_of_a_network_with_a_pattern(pattern: str, bits: int) -> None:
    """CIFAR ResNet-18 but for its first convolution, whose 3 channels 4 does not divide: all N:M, values of 4 bytes."""
    # four stages of 3 × 3 convolutions and, from the second on, a 1 × 1 shortcut; the classifier
    weights = (
        4 * 64 * 64 * 9
        + (64 * 128 * 9 + 3 * 128 * 128 * 9 + 64 * 128)
        + (128 * 256 * 9 + 3 * 256 * 256 * 9 + 128 * 256)
        + (256 * 512 * 9 + 3 * 512 * 512 * 9 + 256 * 512)
        + 512 * 10
    )
    N, M = map(int, pattern.split(":"))
    assert weights == 11_162_624
    memory = memory_of("cifar_resnet18", distribution="nm", source=pattern).memory
    assert memory.compressed_weights.saved_copies == weights * N // M * (4 * 8 + bits) / 8  # 2:8: 12,209,120 bytes


def test_copies_in_half_precision() -> None:
    network = fork()
    memory = sparse(network, QUARTER_LEFT, precision="mixed")
    assert memory.naive_weights.saved_copies == 2 * 64 * 2
    assert memory.compressed_weights.saved_copies == 2 * (64 // 8 + 16 * 2)
    uneven = sparse(network, (0.0, 0.74, 0.0))
    assert uneven.compressed_weights.saved_copies == 75  # 8 + 64 · 0.26 · 4 = 74.56


def test_thresholds_are_of_what_topk_selects() -> None:
    def thresholds(method: str, *sparsities: tuple[float, float]) -> int:
        return sparse(fork(), sparsities, method=method).thresholds

    assert thresholds("swat", (0.5, 0.0), (0.0, 0.5), (0.5, 0.5)) == 4 * (1 + 1 + 2)
    assert thresholds("swat", (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)) == 0
    assert thresholds("rigl", (0.5, 0.0), (0.5, 0.0), (0.5, 0.0)) == 0  # it selects at its own updates


def peak_with(
    saved: int,
    *,
    peak: int = 10_000,
    dense: int = 7000,
    activations: int = 0,
    input: int = 0,
    sizes: dict[int, int],
    inputs: int = 1,
    loss: int = 0,
    at_update: int = 0,
) -> int:
    """The peak with `saved` bytes, for a dense step that saves `dense` bytes, the loss included, and tensors of these
    sizes by storage."""
    step = StepMemory(
        batch_size=1, execution=Execution.of(optimizer="sgd"), constant={}, gradients=0, input=0, targets=0,
        saved={"relu": dense - loss}, loss=loss, live=(), backward=0, peak=Peak(peak, "backward", {}),
    )  # fmt: skip
    kept = tuple(Kept(storage, "relu", size, size, size, "dense", False, 0.0) for storage, size in sizes.items())
    weights = HeldWeights(
        storage=WeightStorage(), parts={}, in_passes=peak, saved_activations=activations, inputs=input,
        at_update=at_update,
    )  # fmt: skip
    return SparseMemory(step, inputs, kept, weights, weights, None, 0, {}).peak(weights, saved)


def test_the_peak_of_what_is_saved_by_hand() -> None:
    """Of 10,000 bytes at the dense peak 6,000 are saved activations and 500 the input, of which 400 are saved."""

    def peak(saved: int, at_update: int = 0) -> int:
        sizes = {0: 400, 1: 2000, 2: 3600, 3: 1000}
        return peak_with(saved, activations=6000, input=500, sizes=sizes, at_update=at_update)

    assert peak(7000) == 10_000
    assert peak(7600) == 10_600  # 600 more are saved and held
    # less is saved: 3,600 of the largest tensor are dense at work, and what is saved replaces 6,000 + 400
    assert peak(1000) == 10_000 - 6400 + 1000 + 3600
    assert peak(6999) == 10_000  # 10,000 − 6,400 + 6,999 + 3,600 would be more than the dense step
    assert peak(2799) == 9999
    # the optimizer's step holds nothing that is saved, less or more of it
    assert peak(1000, at_update=9000) == 9000
    assert peak(7600, at_update=10_700) == 10_700


def test_the_peak_leaves_out_what_the_loss_saves() -> None:
    assert peak_with(1000, activations=6000, sizes={1: 500}, loss=300) == 10_000 - 6000 + (1000 - 300) + 500


def test_inputs_are_replaced_as_far_as_the_peak_holds_them() -> None:
    sizes = {0: 1000, 1: 900, 2: 800}
    assert peak_with(50, input=5000, sizes=sizes, inputs=3) == 10_000 - 2700 + 50 + 1000
    assert peak_with(50, input=5000, sizes=sizes, inputs=2) == 10_000 - 1900 + 50 + 1000
    assert peak_with(50, input=1500, sizes=sizes, inputs=2) == 10_000 - 1500 + 50 + 1000
    assert peak_with(50, sizes=sizes, inputs=3) == 10_000
    assert peak_with(50, activations=60, sizes={}) == 10_000 - 60 + 50
    assert peak_with(20, activations=60, sizes={0: 10}) == 10_000 - 60 + 20 + 10


def test_the_compressed_peak_by_hand() -> None:
    """1024 samples through 8, 64, 64, 64 and 4 features: three tensors of 262,144 bytes between the layers."""
    network = chain(8, 64, 64, 64, 4)
    step = training_memory(network, batch_size=1024, optimizer="sgd")
    memory = sparse_memory(network, plan_of(network, (0.0, 0.75, 0.75, 0.75)), step)
    # the most is held when the gradient of the third one appears, beside x, the three, the output and the last weight's
    parameters = 4 * (8 * 64 + 2 * 64 * 64 + 64 * 4)
    assert step.peak.bytes == parameters + 32_768 + 3 * 262_144 + 16_384 + 4 * 64 * 4 + 262_144
    # a bitmap of 65,536 places, 16,384 values of 4 bytes, ReLU's bits; and bitmaps of the weights behind the first
    tensor = 8192 + 65_536 + 8192
    weights = 2 * (64 * 64 // 8 + 64 * 64) + (64 * 4 // 8 + 64 * 4)
    assert memory.compressed == 32_768 + 3 * tensor + weights + 3 * 8 + step.loss
    # in place of x and the three, all that is compressed is held, and one tensor is dense at work
    kept = 32_768 + 3 * tensor + weights + 24
    assert memory.compressed_peak == parameters + kept + 16_384 + 4 * 64 * 4 + 262_144 + 262_144
    assert memory.compressed_peak < step.peak.bytes < memory.naive_peak


networks = st.lists(st.integers(1, 64), min_size=2, max_size=5).map(lambda features: chain(*features))
steps = st.fixed_dictionaries(
    {
        "batch_size": st.integers(1, 40),
        "optimizer": st.sampled_from(["sgd", "momentum", "adam"]),
        "precision": st.sampled_from(["fp32", "bf16", "mixed"]),
    }
)


def viewed(network: Network, sparsity: float, step: dict[str, object]) -> SparseMemory:
    plan = plan_of(network, [sparsity] * len(network.layers))
    return sparse_memory(network, plan, training_memory(network, **step))  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(networks, steps)
def test_without_sparsity_it_is_the_dense_step(network: Network, step: dict[str, object]) -> None:
    memory = viewed(network, 0.0, step)
    assert memory.naive == memory.dense.saved_bytes
    assert memory.naive_peak == memory.dense.peak.bytes
    assert memory.compressed == memory.dense.saved_bytes  # each tensor behind a ReLU is read by a layer
    assert memory.thresholds == memory.naive_weights.saved_copies == memory.compressed_weights.saved_copies == 0


@settings(max_examples=40, deadline=None)
@given(networks, steps, st.floats(0, 0.99), st.floats(0, 0.99))
def test_more_sparsity_never_takes_more_bytes(
    network: Network, step: dict[str, object], one: float, other: float
) -> None:
    less, more = (viewed(network, sparsity, step) for sparsity in sorted((one, other)))
    for before, after in zip(less.kept, more.kept, strict=True):
        assert after.compressed <= before.compressed <= before.dense <= before.naive
    if less.compressed_weights.saved_copies:
        assert more.compressed_weights.saved_copies <= less.naive_weights.saved_copies


@settings(max_examples=40, deadline=None)
@given(networks, steps, st.floats(0.01, 0.99))
def test_peaks_are_in_order(network: Network, step: dict[str, object], sparsity: float) -> None:
    memory = viewed(network, sparsity, step)
    assert memory.naive_peak >= memory.dense.peak.bytes
    assert memory.naive_peak > memory.dense.peak.bytes or memory.dense.peak.phase == "optimizer step"
    if memory.compressed <= memory.dense.saved_bytes:
        assert memory.compressed_peak <= memory.dense.peak.bytes


@settings(max_examples=40, deadline=None)
@given(networks, st.integers(1, 40), st.floats(0, 0.99))
def test_both_accounts_of_masked_tensors_agree(network: Network, batch: int, sparsity: float) -> None:
    memory = viewed(network, sparsity, {"batch_size": batch})
    plan = plan_of(network, [sparsity] * len(network.layers))
    assert step_memory(network, plan, batch).masked == sum(each.naive for each in memory.kept)
