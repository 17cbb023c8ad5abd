"""Traces of language models for any number of tokens.

While its structure stays the same, every whole number in such a trace is a polynomial in the number of tokens s of a
sample and the batch size b: at most of degree 2 in s, as the pairs of a query and a key, and of degree 1 in b. So a
trace is kept as text in which `"$3"` stands for the polynomial number 3, and evaluating it is exact.

The structure is another one where a sample is one token, and where two calls of an operation happen to move equally
many bytes, which a trace lists once. These lengths are traced anew.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise, product

import msgspec

from swatcost.common.errors import SwatcostError
from swatcost.network import Network, parse_network

_SHORTEST = 2  # tokens
_DIGITS = re.compile(rb"([0-9]+)")
_PLACE = re.compile(rb'"\$([0-9]+)"')


class ScaledTrace(msgspec.Struct, frozen=True):
    """A trace's text, and the polynomials in it: coefficients of 1, s and s·(s − 1)/2, and of the same times b.

    `batch_sizes` are those that can be told from the network's other sizes, in the order in which a trace prefers them.
    """

    batch_sizes: tuple[int, ...]
    polynomials: tuple[tuple[int, int, int, int, int, int], ...]
    trace: msgspec.Raw

    def text(self, tokens: int) -> bytes | None:
        """The text of a trace of samples of `tokens` tokens; None if a trace would have another structure."""
        batch_size = next((size for size in self.batch_sizes if tokens % size), None)
        if batch_size is None or tokens < _SHORTEST:
            return None
        pairs = tokens * (tokens - 1) // 2
        values = [
            str(a + b * tokens + c * pairs + batch_size * (d + e * tokens + f * pairs)).encode()
            for a, b, c, d, e, f in self.polynomials
        ]
        return _PLACE.sub(lambda place: values[int(place[1])], bytes(self.trace))

    def network(self, tokens: int, source: str) -> Network | None:
        """The trace of samples of `tokens` tokens; None if it has to be traced. `source` names it in errors."""
        text = self.text(tokens)
        try:
            network = None if text is None else parse_network(text, source)
        except SwatcostError:  # beyond what a trace can hold, as tracing says in its own words
            return None
        return None if network is None or _has_equal_movements(network) else network


def _has_equal_movements(network: Network) -> bool:
    """Whether there are movements that a trace would have merged, because they have become equal."""
    every = (network.movements, network.amp.movements if network.amp else ())
    rows = [[(each.operation, each.in_pass, each.fixed_bytes, each.batch_bytes) for each in part] for part in every]
    return any(len(set(part)) < len(part) for part in rows)


def scaled(texts: Mapping[tuple[int, int], bytes], batch_sizes: Sequence[int]) -> ScaledTrace:
    """The trace of which these are the texts, for two batch sizes b and three numbers of tokens s, by (b, s).

    Raises ValueError if they differ in more than numbers, or if a number is not such a polynomial.
    """
    sizes, lengths = (sorted(set(each)) for each in zip(*texts, strict=True))
    parts = {place: _DIGITS.split(texts[place]) for place in product(sizes, lengths)}
    first, *others = parts.values()
    if any(each[::2] != first[::2] for each in others):
        raise ValueError(f"the traces of {lengths} tokens differ in more than numbers")
    known: dict[tuple[int, ...], int] = {}
    filled = list(first)
    for place in range(1, len(first), 2):
        if any(each[place] != first[place] for each in others):
            of_size = [_coefficients({s: int(parts[b, s][place]) for s in lengths}) for b in sizes]
            per_sample = [(high - low) / (sizes[1] - sizes[0]) for low, high in zip(*of_size, strict=True)]
            fixed = [low - sizes[0] * each for low, each in zip(of_size[0], per_sample, strict=True)]
            polynomial = tuple(map(_whole, (*fixed, *per_sample)))
            filled[place] = b'"$%d"' % known.setdefault(polynomial, len(known))
    return ScaledTrace(tuple(batch_sizes), tuple(known), msgspec.Raw(b"".join(filled)))  # type: ignore[arg-type]


def _coefficients(values: Mapping[int, int]) -> tuple[Fraction, Fraction, Fraction]:
    """Those of 1, s and s·(s − 1)/2 in the polynomial that has these values at three s, by Newton's differences."""
    (s0, f0), (s1, _), (s2, _) = values.items()
    first, second = (Fraction(high[1] - low[1], high[0] - low[0]) for low, high in pairwise(values.items()))
    square = (second - first) / (s2 - s0)
    # f = f0 + first · (s − s0) + square · (s − s0) · (s − s1), with s² = s + 2 · s·(s − 1)/2
    linear = first - square * (s0 + s1)
    return f0 - first * s0 + square * s0 * s1, linear + square, 2 * square


def _whole(number: Fraction) -> int:
    if number.denominator != 1:
        raise ValueError("a number in the traces is not a polynomial of whole numbers")
    return int(number)
