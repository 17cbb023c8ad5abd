"""SLoPe's published memory table, term by term, and FST's beside it."""

from __future__ import annotations

from math import prod

import pytest
import torch
from torch import Tensor
from torch.sparse._semi_structured_conversions import sparse_semi_structured_from_dense_cutlass

from swatcost.memory.weight_storage import ElementBytes, WeightStorage, stored_bytes

# SLoPe's account (github.com/Mohammad-Mozaffari/slope, performance_experiments/memory.py): fp16 parameters and
# gradients, fp32 moments; both orders in 2:4; torch.bool masks; gradients and moments of half the elements.
ADAM = ElementBytes(parameter=2, gradient=2, state=4 + 4)
SLOPE = WeightStorage(parameters="active", gradients="active", state="active", transposes=1, mask_bits=8)
# The same file's account of FST (Hu et al., ICML 2024): the dense weight as well, everything else dense.
FST = WeightStorage(copies=1, transposes=1, mask_bits=8)


def of_matrix(storage: WeightStorage, rows: int, columns: int, sparsity: float = 0.5) -> dict[str, float]:
    return stored_bytes(storage, rows=rows, columns=columns, sparsity=sparsity, element=ADAM, pattern=(2, 4))


def test_slopes_bytes_of_a_weight_term_by_term() -> None:
    dense = of_matrix(SLOPE, 1024, 4096, sparsity=0.0)
    assert {name: size / (1024 * 4096) for name, size in dense.items() if size} == {
        "parameters": 2, "gradients": 2, "optimizer state": 4 + 4,
    }  # fmt: skip
    slope = of_matrix(SLOPE, 1024, 4096)
    assert {name: size / (1024 * 4096) for name, size in slope.items() if size} == {
        "parameters": 1,  # half of the values, of 2 bytes
        "indices": 1 / 8,  # 2 bits for each half as many values: 1 bit per weight
        "weight copies": 1 + 1 / 8,  # the transpose
        "masks": 1,
        "gradients": 1 / 2 * 2,
        "optimizer state": 1 / 2 * (4 + 4),
    }
    assert sum(slope.values()) / (1024 * 4096) == 2 * (1 + 1 / 8) + 1 + 1 / 2 * 10 == 8.25
    # beside the dense weight and its 10 bytes, both orders in 2:4 and the mask
    assert sum(of_matrix(FST, 1024, 4096).values()) / (1024 * 4096) == 12 + 2 * (1 + 1 / 8) + 1 == 15.25


def test_torch_encodes_2_4_in_as_many_bytes() -> None:
    """Values and metadata of the weight, and of its transpose pruned once more, as 2:4 kernels read them."""
    weight = torch.randn(128, 256).bfloat16()

    def encoded(matrix: Tensor) -> int:
        groups = matrix.reshape(matrix.shape[0], -1, 4).clone()
        groups[..., 2:] = 0
        values, metadata = sparse_semi_structured_from_dense_cutlass(groups.reshape(matrix.shape))
        return values.nbytes + metadata.nbytes

    stored = of_matrix(SLOPE, 128, 256)
    assert stored["parameters"] + stored["indices"] == encoded(weight)
    assert stored["weight copies"] == encoded(weight.t().contiguous())
    # In fp32 torch keeps 4 bits per value, for 1 of 2, where 2 bits are enough: 2 + 1/4 bytes per weight, not 2 + 1/8.
    ours = stored_bytes(SLOPE, rows=128, columns=256, sparsity=0.5, element=ElementBytes(parameter=4), pattern=(2, 4))
    assert ours["weight copies"] == 128 * 256 * (2 + 1 / 8) == encoded(weight.float().t().contiguous()) - 128 * 256 / 8


Shape = tuple[int, int]


def opt(width: int, layers: int) -> tuple[list[Shape], int, int]:
    """Pruned matrices, elements of other matrices and of vectors of an OPT: 50,272 tokens, 2,050 positions, tied head.

    A layer has four projections and two of the feed-forward part, their biases, and two normalisations.
    """
    of_layer = [(width, width)] * 4 + [(4 * width, width), (width, 4 * width)]
    return of_layer * layers, (50_272 + 2_050) * width, (9 + 4) * width * layers + 2 * width


def llama(vocabulary: int, layers: int) -> tuple[list[Shape], int, int]:
    """The same for LLaMA-3-8B and Mistral-7B: width 4096, 1024 for keys and values, 14,336 inside, untied head."""
    of_layer = [(4096, 4096)] * 2 + [(1024, 4096)] * 2 + [(14_336, 4096)] * 2 + [(4096, 14_336)]
    return of_layer * layers, 2 * vocabulary * 4096, (2 * layers + 1) * 4096


def slope_over_dense(model: tuple[list[Shape], int, int], unpruned: float = 12) -> float:
    """Bytes with SLoPe over dense bytes; `unpruned` bytes per element of matrices that are not pruned."""
    pruned, embeddings, vectors = model
    sparse = sum(sum(of_matrix(SLOPE, *shape).values()) for shape in pruned)
    dense = 12 * (sum(map(prod, pruned)) + embeddings + vectors)
    return (sparse + unpruned * embeddings + 12 * vectors) / dense


SLOPES_TRAINING_MEMORY = [
    # layers as in its scripts/e2e_model_memory.sh
    pytest.param(opt(9216, 2), 0.67, id="OPT-66B, 2 layers"),
    pytest.param(opt(7168, 3), 0.67, id="OPT-30B, 3 layers"),
    pytest.param(opt(5120, 12), 0.68, id="OPT-13B, 12 layers as its inference rows have"),
    pytest.param(opt(4096, 12), 0.68, id="OPT-6.6B, 12 layers"),
    pytest.param(opt(2560, 12), 0.67, id="OPT-2.6B, 12 layers"),
    pytest.param(llama(128_256, 4), 0.63, id="LLaMA-3-8B, 4 layers"),
    pytest.param(
        llama(32_768, 2), 0.68, id="Mistral-v0.3-7B, 2 layers",
        marks=pytest.mark.xfail(strict=True, reason="0.65; 0.68 needs at least 10 layers, and the script has 2"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("model", "published"), SLOPES_TRAINING_MEMORY)
def test_slopes_published_memory(model: tuple[list[Shape], int, int], published: float) -> None:
    """Its code halves gradients and moments of every matrix, of embeddings too, which are not pruned: 2 + ½ · 10."""
    assert round(slope_over_dense(model, unpruned=7), 2) == published


def test_what_slopes_table_gives_with_embeddings_in_full() -> None:
    """12 bytes for what is not pruned, not 7. The smaller the part of the blocks, the more this changes."""
    found = {width: slope_over_dense(opt(width, layers)) for width, layers in ((5120, 6), (4096, 12), (2560, 12))}
    # embeddings are 52,322 · width elements, blocks 12 · layers · width²: 12 − 3.75 · b / (b + e) of 12 bytes, with
    # b / (b + e) = 12 · 30,720 / (12 · 30,720 + 52,322) = 0.8757 for 6 · 5120 and 12 · 2560, and 0.9185 for 12 · 4096
    assert {width: round(each, 3) for width, each in found.items()} == {5120: 0.726, 4096: 0.713, 2560: 0.726}
    assert found[2560] == pytest.approx(1 - 3.75 / 12 * 0.8757, abs=5e-4)


def test_two_cells_of_slopes_table_exclude_each_other() -> None:
    """6 layers of OPT-13B and 12 of OPT-2.6B have the same proportion of blocks, 6 · 5120 = 12 · 2560: the cells cannot
    be 0.68 and 0.67. Both are 0.67; the larger model's comes out with the 12 layers of its inference rows."""
    thirteen, two = (slope_over_dense(model, unpruned=7) for model in (opt(5120, 6), opt(2560, 12)))
    assert round(thirteen, 2) == round(two, 2) == 0.67
    assert thirteen == pytest.approx(two, abs=1e-4)  # vectors are a larger part of the smaller one


FSTS_TRAINING_MEMORY = [
    pytest.param(opt(9216, 2), 1.27, id="OPT-66B, 2 layers",
                 marks=pytest.mark.xfail(strict=True, reason="1.17: its neighbours are 1.15 to 1.19")),
    pytest.param(opt(7168, 3), 1.17, id="OPT-30B, 3 layers"),
    pytest.param(opt(5120, 3), 1.16, id="OPT-13B, 3 layers"),
    pytest.param(opt(4096, 12), 1.19, id="OPT-6.6B, 12 layers"),
    pytest.param(opt(2560, 12), 1.18, id="OPT-2.6B, 12 layers"),
    pytest.param(llama(128_256, 4), 1.17, id="LLaMA-3-8B, 4 layers",
                 marks=pytest.mark.xfail(strict=True, reason="1.11; 1.17 needs 12 layers, and the script has 4")),
    pytest.param(llama(32_768, 2), 1.15, id="Mistral-v0.3-7B, 2 layers"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "published"), FSTS_TRAINING_MEMORY)
def test_fsts_published_memory(model: tuple[list[Shape], int, int], published: float) -> None:
    """Square matrices are not pruned there but have a mask: 12 + 1 bytes per weight; the others 15.25."""
    pruned, embeddings, vectors = model
    sparse = sum(
        13 * rows * columns if rows == columns else sum(of_matrix(FST, rows, columns).values())
        for rows, columns in pruned
    )
    elements = sum(map(prod, pruned)) + embeddings + vectors
    assert round((sparse + 12 * (embeddings + vectors)) / (12 * elements), 2) == published
