"""A report as JSON: one object, unrounded, with everything that the other forms show."""

from __future__ import annotations

import msgspec

from swatcost.report.sheet import Sheet


def render(sheet: Sheet, width: int) -> str:
    return msgspec.json.format(msgspec.json.encode(sheet.data()), indent=2).decode()
