"""What sparse hardware is reported to give, as data: from abstracts and vendors' posts, none of it measured here."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, kw_only=True)
class ReportedGain:
    """A value with its unit, for what, on what, and the source that reports it."""

    pattern: str
    what: str
    value: str
    unit: str
    hardware: str
    source: str


def reported_gains() -> Sequence[ReportedGain]:
    """The lines of `sparse_hardware.csv`."""
    text = (files(__package__) / "sparse_hardware.csv").read_text(encoding="utf-8")
    return [ReportedGain(**row) for row in csv.DictReader(text.splitlines())]
