"""State and temporaries of torch's Muon, with AdamW for what it does not update [bytes]."""

from collections.abc import Iterable, Sequence

from swatcost.memory.adam import adam_loop
from swatcost.memory.trained_parameters import Line, Trained, counters, peak_of, total, twice

_BF16 = 2  # bytes
_NEWTON_SCHULZ_STEPS = 5


def _is_matrix(each: Trained) -> bool:
    """Whether Muon updates the parameter: it takes those with two dimensions, embeddings and heads among them."""
    return len(each.shape) == 2


def _matrices_and_others(trained: Sequence[Trained]) -> tuple[list[Trained], list[Trained]]:
    return [each for each in trained if _is_matrix(each)], [each for each in trained if not _is_matrix(each)]


def muon_state(trained: Sequence[Trained]) -> int:
    """State of torch's Muon for all parameters with two dimensions, and of AdamW for the others [bytes].

    So torch's documentation divides them; embeddings and heads, which many leave to AdamW, then have one moment more.
    Kernels of convolutions, which torch's Muon refuses, are AdamW's.

    Source: `Muon._init_group` and the example in its documentation, torch 2.13.

    >>> muon_state([Trained((10, 20), 4), Trained((8, 4, 3, 3), 4), Trained((7,), 4)])  # 200, 2 · 288 and 2 · 7 numbers
    3160
    """
    matrices, others = _matrices_and_others(trained)
    return total(matrices) + twice(others)


def muon_matrices(trained: Sequence[Trained]) -> int:
    """Temporaries of torch's Muon for matrices [bytes], which it always updates one after another.

    The update in the parameter's precision, then in bfloat16 a copy of it, five times orthogonalised: two products of
    its smaller side squared, and the next copy. The last matrix's update is freed when the next replaces it.

    Source: `_single_tensor_muon` and `_zeropower_via_newtonschulz` of torch 2.13. Equal to what torch's memory tracker
    sees. Parameters of 2 bytes are taken to be in bfloat16, which needs no first copy.

    >>> muon_matrices([Trained((10, 20), 4)])  # 200 · 4, and in 2 bytes twice 200 and twice 10 · 10
    2000
    """

    def lines() -> Iterable[Line]:
        for each in trained:
            copy, product = each.elements * _BF16, min(each.shape) ** 2 * _BF16
            yield Line("update", each.bytes)
            yield Line("copy", 0 if each.element_bytes == _BF16 else copy)
            yield Line("norm", 0, 2 * _BF16)
            for _ in range(_NEWTON_SCHULZ_STEPS):
                yield Line("square", product)
                yield Line("polynomial", product)
                yield Line("copy", copy)
            yield Line("square", 0)
            yield Line("polynomial", 0)
            yield Line("copy", 0)
            yield Line("update", copy)

    return peak_of(lines())


def muon_foreach(trained: Sequence[Trained]) -> int:
    """Temporaries of Muon for matrices, and then of AdamW for the others with foreach=True [bytes]."""
    matrices, others = _matrices_and_others(trained)
    return max(muon_matrices(matrices), total(others))


def muon_fused(trained: Sequence[Trained]) -> int:
    """Temporaries of Muon for matrices [bytes]: a fused AdamW has none for the others."""
    return muon_matrices(_matrices_and_others(trained)[0])


def muon_loop(trained: Sequence[Trained]) -> int:
    """Temporaries of Muon for matrices, and then of AdamW for one of the others after another [bytes]."""
    matrices, others = _matrices_and_others(trained)
    return max(muon_matrices(matrices), adam_loop(others))


def muon_counters(trained: Sequence[Trained]) -> int:
    """Step counters of a fused AdamW [bytes]; Muon has none."""
    return counters(_matrices_and_others(trained)[1])
