"""Kinds of memory-bound operations by torch's names, and their times between and beyond measurements."""

from __future__ import annotations

import pytest
import torch

from swatcost.devices.operations import StreamPoint, StreamTimes
from swatcost.timing.streams import KINDS, STAND_INS, Streams, kind_of

from .conftest import zoo_network

NAMES = {
    "batch normalisation": ["native_batch_norm", "cudnn_batch_norm_backward", "instance_norm"],
    "layer normalisation": ["native_layer_norm", "native_group_norm_backward", "rms_norm"],
    "softmax": ["_softmax", "_log_softmax_backward_data", "logsumexp"],
    "pooling": ["max_pool2d_with_indices", "_adaptive_avg_pool2d_backward", "upsample_nearest2d", "grid_sampler_2d"],
    "transcendental": ["gelu", "silu_backward", "sigmoid", "tanh_backward", "native_dropout", "pow", "rsqrt", "exp",
                       "log_sigmoid_forward"],
    "reduction": ["sum", "mean", "amax", "linalg_vector_norm", "nll_loss_forward", "mse_loss_backward"],
    "fill": ["zeros", "ones_like", "zero_", "fill_", "new_zeros"],
    "copy": ["clone", "copy_", "cat", "stack", "embedding_dense_backward", "constant_pad_nd", "index_put", "im2col",
             "roll"],
    "in place": ["add_", "relu_", "mul_"],
    "elementwise": ["add", "mul", "threshold_backward", "relu", "where", "div", "hardtanh"],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in NAMES.items() for name in names])
def test_kinds_by_torchs_names(kind: str, name: str) -> None:
    assert hasattr(torch.ops.aten, name)
    assert kind_of(name) == kind


def test_every_kind_is_one_of_the_table() -> None:
    assert set(NAMES) == set(KINDS)
    assert {*STAND_INS, *STAND_INS.values()} <= set(KINDS)
    found = {kind_of(each.operation) for each in zoo_network("densenet121").movements}
    assert {"batch normalisation", "pooling", "copy", "elementwise"} <= found <= set(KINDS)


def measured(kind: str, *points: tuple[int, float], in_pass: str = "forward") -> StreamTimes:
    return StreamTimes(kind=kind, in_pass=in_pass, points=tuple(StreamPoint(*each) for each in points))  # type: ignore[arg-type]


def test_times_between_and_beyond_measurements() -> None:
    streams = Streams([measured("copy", (10_000, 4.0), (100, 1.0))])  # in any order

    def at(bytes: float) -> float | None:
        return streams.seconds("copy", "forward", bytes)

    assert (at(100), at(10_000)) == (1, 4)
    assert at(1000) == pytest.approx(2)  # half way in logarithms
    assert at(50) == 1  # a small call takes as long as the smallest measured
    assert at(30_000) == 12  # as long per byte as the largest
    assert at(0) == 0


def test_what_stands_for_kinds_that_were_not_measured() -> None:
    streams = Streams(
        [
            measured("elementwise", (1, 1.0)),
            measured("batch normalisation", (1, 2.0)),
            measured("batch normalisation", (1, 3.0), in_pass="backward"),
            measured("copy", (1, 4.0)),
        ]
    )

    def at(kind: str, in_pass: str) -> float | None:
        return streams.seconds(kind, in_pass, 1)

    assert (at("batch normalisation", "forward"), at("batch normalisation", "backward")) == (2, 3)
    assert (at("layer normalisation", "forward"), at("layer normalisation", "backward")) == (2, 3)
    assert at("fill", "forward") == at("copy", "backward") == 4
    assert at("softmax", "backward") == at("pooling", "forward") == 1
    assert Streams([measured("copy", (1, 4.0))]).seconds("softmax", "forward", 1) is None
    assert Streams([]).seconds("copy", "forward", 0) is None
