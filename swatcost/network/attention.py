"""What an attention kernel was told of the keys that each query reads, and tables whose rows are looked up."""

from dataclasses import dataclass
from functools import cache

from swatcost.network.fields import Name, Natural, Positive


@dataclass(frozen=True, kw_only=True)
class Attention:
    """What a product of an attention kernel is told beside its operands; all counts are of the traced batch.

    `queries` counts positions: sequences × positions, whatever the number of heads. `pairs` are the pairs of a query
    and a key of every head that the product's MACs are made of, and `in_window` those that are left if each query reads
    at most as many keys as its sliding window holds, of whatever position; without a window they are all pairs.
    `needed` are those that no mask which the kernel knows excludes: no key behind its query if it is `causal`, none
    outside the window. `causal` is None where a mask of values that the trace does not read decides. `computes_scores`
    says that the product, or part of it, is Q · Kᵀ.

    Raises ValueError unless needed ≤ in_window ≤ pairs.
    """

    queries: Positive
    pairs: Positive
    in_window: Positive
    needed: Positive
    causal: bool | None
    computes_scores: bool

    def __post_init__(self) -> None:
        if not self.needed <= self.in_window <= self.pairs:
            raise ValueError(
                f"attention needs {self.needed} of {self.in_window} pairs in its window, of {self.pairs} pairs in all"
            )


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """A parameter of which the forward pass looks up rows: `lookups` in all over the traced batch.

    `reads_input` says that the indices are an input of the network, as tokens are; those of positions are made.
    """

    parameter: Name
    lookups: Natural
    reads_input: bool


@cache
def pairs_of(
    sequences: int, heads: int, queries: int, keys: int, *, causal: bool, window: tuple[int, int] = (-1, -1)
) -> tuple[int, int, int]:
    """Pairs of a query and a key over all heads and sequences: all, those in the window, and those that are needed.

    With a causal mask, query i reads keys up to i. In a window (left, right) it reads keys i − left to i + right; a
    negative number means no limit on that side.

    >>> pairs_of(1, 1, 4, 4, causal=True)  # 16 in all; 1 + 2 + 3 + 4
    (16, 16, 10)
    >>> pairs_of(1, 1, 4, 4, causal=True, window=(1, 0))  # 4 · 2; 1 + 2 + 2 + 2
    (16, 8, 7)
    """
    left, right = window
    ahead = 0 if causal else right
    limited = left >= 0 and ahead >= 0
    held = min(keys, left + 1 + ahead) if limited else keys
    if left >= 0:
        needed = sum(
            max(0, min(keys, query + 1 + ahead if ahead >= 0 else keys) - max(0, query - left))
            for query in range(queries)
        )
    elif ahead >= 0:  # Σ min(keys, query + 1 + ahead), which rises by one until it is all keys
        rising = min(queries, max(0, keys - 1 - ahead))
        needed = rising * (1 + ahead) + rising * (rising - 1) // 2 + (queries - rising) * keys
    else:
        needed = queries * keys
    times = sequences * heads
    return times * queries * keys, times * queries * held, times * needed
