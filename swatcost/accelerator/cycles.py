"""Cycles and slots, which add up over passes and layers."""

from __future__ import annotations

from dataclasses import dataclass

from swatcost.methods import LayerSparsity
from swatcost.network.layer import Layer
from swatcost.network.passes import Pass


@dataclass(frozen=True)
class Slots:
    """What became of the slots (a multiplier in a cycle) of a sparse pass, in slots: they add up to all of its cycles'.

    - `busy`: multiplied by a weight that is not zero, which includes what is dense;
    - `ragged`: idle as filters, channels or windows do not fill rows, lanes, tiles or columns;
    - `unfilled`: idle as no weight was within reach, while the filter had other work;
    - `filters`: of filters that had nothing within reach and waited for others of their tile;
    - `tiles`: of tiles that waited for the slowest of those that work together.
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

    @property
    def total(self) -> float:
        """All slots."""
        return sum(self.as_tuple())


@dataclass(frozen=True)
class Cycles:
    """Cycles of one sample, dense and with zeros skipped, and what became of the latter's slots.

    `limit` are the fewest cycles that the slots allow: what is not zero over all multipliers.
    """

    dense: float = 0.0
    sparse: float = 0.0
    limit: float = 0.0
    slots: Slots = Slots()

    def __add__(self, other: Cycles) -> Cycles:
        return Cycles(
            self.dense + other.dense, self.sparse + other.sparse, self.limit + other.limit, self.slots + other.slots
        )

    @property
    def speedup(self) -> float:
        """Dense over sparse cycles; 1 where there is no work."""
        return self.dense / self.sparse if self.sparse else 1.0

    @property
    def reduction(self) -> float:
        """1 − sparse / dense cycles; 0 where there is no work."""
        return 1 - self.sparse / self.dense if self.dense else 0.0

    @property
    def utilisation(self) -> float:
        """Busy slots over all, in sparse cycles."""
        return self.slots.busy / self.slots.total if self.slots.total else 0.0


@dataclass(frozen=True, kw_only=True)
class LayerCycles:
    """One layer's cycles a sample, by pass; without the passes that its training step does not have."""

    layer: Layer
    sparsity: LayerSparsity
    passes: dict[Pass, Cycles]

    @property
    def training(self) -> Cycles:
        """The passes together."""
        return sum(self.passes.values(), Cycles())
