"""A report as JSON: one object, unrounded, with everything that the other forms show."""

from typing import Any

import msgspec

from swatcost.report.sheet import View


def render(report: Any, result: Any, view: View) -> str:
    return msgspec.json.format(msgspec.json.encode(report.to_dict(result)), indent=2).decode()
