"""Rewrites the shipped traces."""

from pathlib import Path

import msgspec
from swatcost_models import ZOO

from swatcost.common.files import write_atomically
from swatcost.tracing.sources import trace_zoo

for _entry in ZOO.values():
    _network = trace_zoo(_entry)
    write_atomically(Path(__file__).parent / f"{_entry.name}.json", msgspec.json.encode(_network).decode() + "\n")
    print(_entry.name)
