"""Cycles and slots, summed over passes and layers."""

from __future__ import annotations

from dataclasses import dataclass

from swatcost.methods import LayerSparsity
from swatcost.network.layer import Layer
from swatcost.network.passes import Pass


@dataclass(frozen=True)
class Slots:
    """How a sparse pass uses its slots (a slot is one multiplier in one cycle); the counts add up to all slots.

    - `busy`: multiplied by a non-zero weight, dense operands included;
    - `ragged`: idle at an edge, as filters, channels or windows do not fill rows, lanes, tiles or columns;
    - `unfilled`: idle with no weight in reach, while the filter had other work;
    - `filters`: idle as their filter had no weight in reach and waited for others of its tile;
    - `tiles`: idle as their tile waited for the slowest tile of its round.
    """

    busy: float = 0.0
    ragged: float = 0.0
    unfilled: float = 0.0
    filters: float = 0.0
    tiles: float = 0.0

    def __add__(self, other: Slots) -> Slots:
        return Slots(*(mine + others for mine, others in zip(self.as_tuple(), other.as_tuple(), strict=True)))

    def as_tuple(self) -> tuple[float, ...]:
        """In the order above."""
        return (self.busy, self.ragged, self.unfilled, self.filters, self.tiles)

    def __rmul__(self, times: float) -> Slots:
        return Slots(*(times * each for each in self.as_tuple()))

    @property
    def total(self) -> float:
        """All slots."""
        return sum(self.as_tuple())


@dataclass(frozen=True)
class Cycles:
    """Cycles of one sample, dense and with zeros skipped (sparse), and how the sparse cycles use their slots.

    `limit` is the minimum number of cycles: non-zero work over all multipliers.
    """

    dense: float = 0.0
    sparse: float = 0.0
    limit: float = 0.0
    slots: Slots = Slots()

    def __add__(self, other: Cycles) -> Cycles:
        return Cycles(
            self.dense + other.dense, self.sparse + other.sparse, self.limit + other.limit, self.slots + other.slots
        )

    def __rmul__(self, times: float) -> Cycles:
        return Cycles(times * self.dense, times * self.sparse, times * self.limit, times * self.slots)

    @property
    def speedup(self) -> float:
        """Dense over sparse cycles; 1 where there is no work."""
        return self.dense / self.sparse if self.sparse else 1.0

    @property
    def reduction(self) -> float:
        """1 − sparse / dense cycles; 0 without work."""
        return 1 - self.sparse / self.dense if self.dense else 0.0

    @property
    def utilisation(self) -> float:
        """Busy slots over all slots of the sparse cycles."""
        return self.slots.busy / self.slots.total if self.slots.total else 0.0


@dataclass(frozen=True, kw_only=True)
class LayerCycles:
    """One layer's cycles per sample, by pass; only the passes that its training step has."""

    layer: Layer
    sparsity: LayerSparsity
    passes: dict[Pass, Cycles]

    @property
    def training(self) -> Cycles:
        """The sum of the passes."""
        return sum(self.passes.values(), Cycles())
