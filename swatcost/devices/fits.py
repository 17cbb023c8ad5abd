"""Linear fits of measured times, with non-negative coefficients and their residuals."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations


@dataclass(frozen=True)
class Fit:
    """y = Σ coefficientᵢ · xᵢ, each coefficient at least 0; residuals are measured / fitted − 1 [-] of each point."""

    coefficients: tuple[float, ...]
    residuals: tuple[float, ...]

    @property
    def worst_residual(self) -> float:
        """The largest absolute residual."""
        return max(map(abs, self.residuals))

    def at(self, x: Sequence[float]) -> float:
        """The fitted value."""
        return sum(each * value for each, value in zip(self.coefficients, x, strict=True))


def fitted(xs: Sequence[Sequence[float]], ys: Sequence[float]) -> Fit:
    """The least-squares fit of relative errors, so that small and large measurements have the same weight.

    Minimises Σ (1 − Σᵢ cᵢ · xᵢ / y)² over c ≥ 0: the best of the unconstrained minima over each subset of the
    coefficients that are non-negative, which holds the constrained one (Lawson and Hanson, "Solving Least Squares
    Problems", 1974). ys are positive; few coefficients are assumed, for they have 2ⁿ − 1 subsets.

    >>> fit = fitted([(1, 10), (1, 100)], [25, 205])  # 5 + 2 · x₂
    >>> [round(each, 9) for each in fit.coefficients]
    [5.0, 2.0]
    """
    rows = [[x / y for x in each] for each, y in zip(xs, ys, strict=True)]
    size = len(rows[0])
    products = [[sum(row[i] * row[j] for row in rows) for j in range(size)] for i in range(size)]
    sums = [sum(row[i] for row in rows) for i in range(size)]

    def error(coefficients: Sequence[float]) -> float:
        return sum((1 - sum(c * x for c, x in zip(coefficients, row, strict=True))) ** 2 for row in rows)

    best = min(_candidates(products, sums), key=error)
    values = [sum(c * x for c, x in zip(best, each, strict=True)) for each in xs]
    return Fit(best, tuple(y / value - 1 for y, value in zip(ys, values, strict=True)))


def _candidates(products: list[list[float]], sums: list[float]) -> Iterator[tuple[float, ...]]:
    """The non-negative minima over each subset of the coefficients, the others being 0."""
    size = len(sums)
    for count in range(1, size + 1):
        for chosen in combinations(range(size), count):
            solved = _solved([[products[i][j] for j in chosen] for i in chosen], [sums[i] for i in chosen])
            if solved is not None and min(solved) >= 0:
                found = dict(zip(chosen, solved, strict=True))
                yield tuple(found.get(each, 0.0) for each in range(size))


def _solved(matrix: list[list[float]], right: list[float]) -> list[float] | None:
    """The solution of normal equations by Gaussian elimination; None if they are singular."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    scale = [row[place] for place, row in enumerate(rows)]
    for place, pivot in enumerate(rows):  # symmetric and positive semi-definite: no pivoting is needed
        if pivot[place] <= 1e-12 * scale[place]:
            return None
        for below in rows[place + 1 :]:
            factor = below[place] / pivot[place]
            below[place:] = [one - factor * other for one, other in zip(below[place:], pivot[place:], strict=True)]
    found: list[float] = []
    for place in reversed(range(len(rows))):
        known = sum(a * x for a, x in zip(rows[place][place + 1 : -1], reversed(found), strict=True))
        found.append((rows[place][-1] - known) / rows[place][place])
    return found[::-1]
