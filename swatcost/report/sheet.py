"""What a report says, whatever its form."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from swatcost.report.tables import Table

LAYER_DETAIL = ("wide", "medium", "narrow")
"""How much a table of layers shows, the most first."""


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """Opening lines, tables and notes for people; the module that gives it has `to_dict` for JSON and `rows` for CSV.

    `layers` gives the table of layers in a detail of LAYER_DETAIL, shown if `shows_layers`, and `left_out` says what
    each detail leaves out.
    """

    opening: Sequence[str]
    tables: Sequence[Table]
    notes: Sequence[str]
    layers: Callable[[str], Table] | None = None
    shows_layers: bool = False
    left_out: Callable[[str], str] = lambda detail: ""
