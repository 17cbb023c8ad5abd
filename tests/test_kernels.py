"""What is remembered of meta kernels, against the kernels themselves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from swatcost.tracing.meta_kernels import Kernels

aten = torch.ops.aten


def meta(*shape: int, **options: Any) -> Tensor:
    return torch.empty(shape, device="meta", **options)


def layout(result: Any) -> Any:
    if isinstance(result, Tensor):
        return (result.shape, result.stride(), result.dtype, result.device, result.untyped_storage().nbytes())
    return [layout(each) for each in result] if isinstance(result, tuple | list) else result


def batch_norm(input: Tensor, training: bool = True, weight: Tensor | None = None) -> tuple[Any, tuple[Any, ...]]:
    channels = input.shape[1]
    statistics = (meta(channels), meta(channels))
    return aten.native_batch_norm.default, (input, weight, weight, *statistics, training, 0.1, 1e-5)


@pytest.mark.parametrize(
    ("func", "args"),
    [
        (aten.convolution.default, (meta(2, 3, 9, 9), meta(4, 3, 3, 3), None,
                                    [2, 2], [1, 1], [1, 1], False, [0, 0], 1)),
        (aten.convolution.default, (meta(2, 3, 9, 9).to(memory_format=torch.channels_last), meta(4, 3, 3, 3), None,
                                    [1, 1], [0, 0], [1, 1], False, [0, 0], 1)),
        (aten.add.Tensor, (meta(2, 1), meta(3))),
        (aten.cat.default, ([meta(2, 3), meta(2, 4)], 1)),
        (aten.max_pool2d_with_indices.default, (meta(2, 3, 8, 8), [2, 2])),
        batch_norm(meta(2, 5, 4, 4)),
        batch_norm(meta(2, 5, 4, 4), weight=meta(5)),
        batch_norm(meta(2, 5)),
        batch_norm(meta(2, 5, 4, 4).to(memory_format=torch.channels_last)),
        batch_norm(meta(2, 5, 4, 4, dtype=torch.bfloat16)),
        batch_norm(meta(2, 5, 4, 4), training=False),
        (aten.native_batch_norm_backward.default, (meta(2, 5, 4), meta(2, 5, 4), meta(5), meta(5), meta(5), meta(5),
                                                   meta(5), True, 1e-5, [True, True, True])),
        (aten.native_batch_norm_backward.default, (meta(2, 5, 4), meta(2, 5, 4), meta(5), meta(5), meta(5), meta(5),
                                                   meta(5), True, 1e-5, [True, False, False])),
        (aten.native_layer_norm.default, (meta(2, 5, 4), [4], None, None, 1e-5)),
        (aten.unsafe_split.Tensor, (meta(3, 4), 4, -1)),
        (aten.unsafe_split.Tensor, (meta(3, 4), 2, -1)),
        (aten.expand.default, (meta(1, 3), [2, 3])),
        (aten.relu_.default, (meta(1, 3),)),
    ],
)  # fmt: skip
def test_a_remembered_layout_is_the_kernels(func: Any, args: tuple[Any, ...]) -> None:
    kernels = Kernels()
    expected = layout(func(*args))
    assert layout(kernels.run(func, args, {})) == expected
    assert layout(kernels.run(func, args, {})) == expected


def test_equal_numbers_of_different_types_are_distinguished() -> None:
    kernels = Kernels()
    integers = meta(3, dtype=torch.int64)
    dtypes = [kernels.run(aten.add.Scalar, (integers, number), {}).dtype for number in (1, 1.0, True)]
    assert dtypes == [torch.int64, torch.float32, torch.int64]


def test_what_shares_memory_is_not_made_anew() -> None:
    kernels = Kernels()
    x = meta(2, 3)
    for _ in range(2):
        assert kernels.run(aten.view.default, (x, [6]), {}).untyped_storage()._cdata == x.untyped_storage()._cdata
        assert kernels.run(aten.add_.Tensor, (x, 1), {}) is x
