"""Linear fits of measured times for device profiles, with their residuals."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Fit:
    """y = first · x₁ + second · x₂, both at least 0, with the residuals measured / fitted − 1 [-] of each point."""

    first: float
    second: float
    residuals: tuple[float, ...]

    @property
    def worst_residual(self) -> float:
        """The largest absolute residual."""
        return max(map(abs, self.residuals))


def fitted(xs: Sequence[tuple[float, float]], ys: Sequence[float]) -> Fit:
    """The least-squares fit of relative errors, so that small and large measurements have the same weight.

    Minimises Σ (1 − (a · x₁ + b · x₂) / y)² over a, b ≥ 0; if one would be negative, it is 0 and the other is solved
    alone. ys are positive.

    >>> fit = fitted([(1, 10), (1, 100)], [25, 205])  # 5 + 2 · x₂
    >>> round(fit.first, 9), round(fit.second, 9)
    (5.0, 2.0)
    """
    rows = [(x1 / y, x2 / y) for (x1, x2), y in zip(xs, ys, strict=True)]
    aa, ab, bb = (sum(r[i] * r[j] for r in rows) for i, j in ((0, 0), (0, 1), (1, 1)))
    a1, b1 = (sum(r[i] for r in rows) for i in (0, 1))
    determinant = aa * bb - ab * ab
    a = b = -1.0
    if determinant > 1e-12 * aa * bb:
        a, b = (a1 * bb - b1 * ab) / determinant, (b1 * aa - a1 * ab) / determinant
    if a < 0 or b < 0:  # one of them is 0: whichever leaves the smaller error
        alone = [(a1 / aa if aa else 0.0, 0.0), (0.0, b1 / bb if bb else 0.0)]
        a, b = min(alone, key=lambda pair: sum((1 - pair[0] * r[0] - pair[1] * r[1]) ** 2 for r in rows))
    residuals = tuple(y / (a * x1 + b * x2) - 1 for (x1, x2), y in zip(xs, ys, strict=True))
    return Fit(a, b, residuals)
