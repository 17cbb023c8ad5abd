"""What a format for another tool is."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from swatcost.counting.workload import Workload

Files = dict[str, str]


@dataclass(frozen=True)
class ExportFormat:
    """A file format of another tool.

    `write` gives the text of each file by its name, from the model's name and its workloads; `cannot` says in sentences
    what of those workloads the format cannot hold. `folder`: there is always more than one file.
    """

    name: str
    title: str
    source: str
    write: Callable[[str, Sequence[Workload]], Files]
    cannot: Callable[[Sequence[Workload]], list[str]]
    folder: bool = False


def identifier(name: str) -> str:
    """A name of letters, digits and _ only."""
    return re.sub(r"\W", "_", name, flags=re.ASCII)


def is_sparse(each: Workload) -> bool:
    """Whether any operand has zeros to skip."""
    return min(each.input_density, each.weight_density, each.output_density) < 1


def named(some: Sequence[Workload]) -> str:
    """The first few by name."""
    names = [each.name for each in some]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
