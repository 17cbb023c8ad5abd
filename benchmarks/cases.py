"""Small networks counted by hand, by swatcost and by other counters: the tables of docs/cases.md and of the README.

Run as `make cases`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

import swatcost
from benchmarks.peers import PEERS, quiet, torch_backward
from tests.cases import CASES, Case, macs

_ROOT = Path(__file__).parent.parent
WHOLE, SHORT = _ROOT / "docs" / "cases.md", _ROOT / "README.md"
START, END = "<!-- cases: written by `make cases` -->", "<!-- end of cases -->"


def ours(case: Case) -> tuple[float, float]:
    """Forward and backward MACs of the whole batch under the convention `exact`."""
    return macs(swatcost.trace(case.build(), case.inputs(), batch_size=case.batch_size))


def asked(count: Any, module: nn.Module, inputs: tuple[Any, ...]) -> float | None:
    """A counter's answer, or None if it fails."""
    torch.manual_seed(0)
    try:
        with quiet():
            return float(count(module, inputs))
    except Exception:
        return None


def cell(found: float | None, expected: int) -> str:
    if found is None:
        return "fails"
    return f"{found:,.0f}" if found == expected else f"*{found:,.0f}*"


def table() -> str:
    """The cases as a Markdown table; numbers that differ from the count by hand are in italics."""
    peers = [peer for peer in PEERS if not peer.missing()]
    header = ["forward", "by hand", "swatcost", *(peer.name for peer in peers)]
    forward, backward = [header], [["backward", "by hand", "swatcost", "FlopCounterMode"]]
    for case in CASES:
        found = ours(case)
        answers = [asked(peer.count, case.build(), case.inputs()) for peer in peers]
        forward.append([case.title, f"{case.forward:,}", *(cell(each, case.forward) for each in (found[0], *answers))])
        torchs = asked(torch_backward, case.build(), case.inputs())
        backward.append([case.title, f"{case.backward:,}", *(cell(each, case.backward) for each in (found[1], torchs))])
    missing = [f"{peer.name} is left out ({peer.missing()})." for peer in PEERS if peer.missing()]
    made = f"Made with {', '.join(peer.version for peer in peers)}."
    return "\n\n".join([*map(markdown, (forward, backward)), *missing, made])


def shortened(tables: str) -> str:
    """The forward table's rows in which torch's own counter is wrong, and the counters' versions."""
    forward, *_, made = tables.split("\n\n")
    header, rule, *rows = forward.splitlines()
    return "\n".join([header, rule, *(row for row in rows if row.split(" | ")[3].startswith("*")), "", made])


def markdown(rows: list[list[str]]) -> str:
    rule = ["---", *("---:" for _ in rows[0][1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], rule, *rows[1:]])


def between_marks(text: str) -> str:
    """What stands between the marks of a page."""
    return text.partition(START)[2].partition(END)[0].strip("\n")


def written(page: Path, tables: str) -> None:
    """Puts tables between the marks of a page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(START)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{START}\n\n{tables}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    found = table()
    written(WHOLE, found)
    written(SHORT, shortened(found))
