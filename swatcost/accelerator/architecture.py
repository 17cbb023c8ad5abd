"""A weight-skipping accelerator: geometry and promotion shape, from a TOML file."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from swatcost.common.errors import SwatcostError
from swatcost.common.profiles import Profiles
from swatcost.devices import Device, Measured, Rates, TopkTimes
from swatcost.network.fields import Name

_Size = Annotated[int, msgspec.Meta(ge=1, le=65_536)]
_MAX_LANES = 64  # the lanes of a line are the bits of one machine word
_ANY_ELEMENTS = 10**9  # a Top-K's time is proportional to its elements: any number gives its time per element
_UNLIMITED = 1e30  # [bytes/s]: the cycle model has no memory
_SHAPE = re.compile(r"(?:([LT])(\d+),(\d+)|X(\d+))", re.IGNORECASE)


@dataclass(frozen=True)
class Shape:
    """Where an empty slot may take a later weight from: `lookahead` lines h and `lookaside` d further connections.

    Kinds, by their offsets (lines ahead Δt, lanes aside Δlane), lanes modulo the lanes of a tile:

    - "L": (1 … h, 0) and (1, −1 … −d);
    - "T": (1 … h, 0) and d more, alternating (r, +k), (r, −k), with r cycling through 1 … h and k counting pairs;
    - "X": a full crossbar, any lane of the next h lines: an upper bound of ours, not a buildable design.

    Source: Delmas Lascorz et al., "Bit-Tactical", ASPLOS 2019, for L and T.
    """

    kind: Literal["L", "T", "X"]
    lookahead: Annotated[int, msgspec.Meta(ge=0, le=64)]
    lookaside: Annotated[int, msgspec.Meta(ge=0, le=63)] = 0

    def __post_init__(self) -> None:
        if self.lookaside and not self.lookahead:
            raise ValueError("a shape without lookahead has no lookaside")
        if self.kind == "X" and self.lookaside:
            raise ValueError("a full crossbar has no lookaside of its own")

    @property
    def name(self) -> str:
        """A name such as T⟨2,5⟩."""
        return f"X⟨{self.lookahead}⟩" if self.kind == "X" else f"{self.kind}⟨{self.lookahead},{self.lookaside}⟩"

    def offsets(self, lanes: int) -> tuple[tuple[int, int], ...]:
        """The offsets (Δt, Δlane) that a slot can take a weight from, in order of preference.

        >>> Shape("L", 1, 2).offsets(16)
        ((1, -2), (1, -1), (1, 0))
        >>> Shape("T", 2, 5).offsets(16)
        ((1, -1), (1, 0), (1, 1), (1, 3), (2, -2), (2, 0), (2, 2))
        """
        ahead = range(1, self.lookahead + 1)
        if self.kind == "X":
            return tuple((step, lane) for step in ahead for lane in range(lanes))
        if self.kind == "L":
            aside = [(1, -lane) for lane in range(1, self.lookaside + 1)]
        else:
            pairs = (
                [(1 + pair % self.lookahead, pair + 1) for pair in range((self.lookaside + 1) // 2)] if ahead else []
            )
            aside = [(step, sign * lane) for step, lane in pairs for sign in (1, -1)][: self.lookaside]
        every = [(step, 0) for step in ahead] + aside
        reached = {(step, lane % lanes) for step, lane in every}
        if len(reached) < len(every):
            raise SwatcostError(f"shape {self.name}: {lanes} lanes are too few for its connections")
        return tuple(sorted(every))


def parse_shape(text: str) -> Shape:
    """A shape from its name: T2,5 or T⟨2,5⟩, L4,3, X8. Raises SwatcostError for anything else.

    >>> parse_shape("T⟨2,5⟩")
    Shape(kind='T', lookahead=2, lookaside=5)
    """
    found = _SHAPE.fullmatch(re.sub(r"[⟨⟩<>()\s]", "", text))
    if found is None:
        raise SwatcostError(f"shape {text!r:.40}: give one such as T2,5, L4,3, or X8 for a full crossbar")
    kind, ahead, aside, crossbar = found.groups()
    try:
        return msgspec.convert(
            {"kind": (kind or "X").upper(), "lookahead": int(ahead or crossbar), "lookaside": int(aside or 0)}, Shape
        )
    except ValueError as error:
        raise SwatcostError(f"shape {text!r:.40}: {error}") from None


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """An accelerator whose front end skips zeros of one operand of each convolution.

    A tile holds `rows` filters of `lanes` weights each and works on `columns` windows at a time; the `tiles` tiles work
    on different filters and wait for each other. `clock` is in cycles/s. A Top-K reads all its elements `topk_passes`
    times, `topk_elements` per cycle.

    Another architecture is another file; see bit-tactical.toml.
    """

    name: Name
    title: Name
    source: Name
    lanes: Annotated[int, msgspec.Meta(ge=1, le=_MAX_LANES)]
    rows: _Size
    columns: _Size
    tiles: _Size
    shape: Shape
    clock: Annotated[float, msgspec.Meta(gt=0, le=1e15)]
    topk_elements: _Size
    topk_passes: _Size
    topk_source: Name

    def __post_init__(self) -> None:
        self.shape.offsets(self.lanes)

    @property
    def macs_per_cycle(self) -> int:
        """Multiply-accumulates per cycle with no slot empty."""
        return self.tiles * self.rows * self.lanes * self.columns

    def with_shape(self, shape: str | Shape) -> Architecture:
        """The same machine with other connections."""
        return replace(self, shape=parse_shape(shape) if isinstance(shape, str) else shape)


_PROFILES = Profiles("architecture", "architecture", Architecture, Path(__file__).parent, mark="lanes")


def architecture_names() -> list[str]:
    """The shipped architectures."""
    return _PROFILES.names()


def load_architecture(name: str | Path) -> Architecture:
    """Reads a shipped architecture by its name, or your own by the path of its .toml file.

    Raises SwatcostError for an unknown name and for a file that is not an architecture.
    """
    return _PROFILES.load(name)


def architecture_named(device: object) -> Architecture | None:
    """The architecture with this device name or .toml file; None if that is a profile."""
    if isinstance(device, str | Path) and _PROFILES.has(device):
        return load_architecture(device)
    return device if isinstance(device, Architecture) else None


def device_of(architecture: Architecture) -> Device:
    """The architecture as a device: its Top-K, and its multipliers at full utilisation."""
    seconds = _ANY_ELEMENTS * architecture.topk_passes / (architecture.topk_elements * architecture.clock)
    topk = Measured(seconds=seconds, elements=_ANY_ELEMENTS)
    return Device(
        name=architecture.name,
        title=architecture.title,
        source=architecture.source,
        topk=TopkTimes(weights=topk, activations=topk),
        rates=Rates(macs_per_second=architecture.macs_per_cycle * architecture.clock, bytes_per_second=_UNLIMITED),
        measured=False,
    )
