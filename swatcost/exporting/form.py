"""The definition of an export format."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from swatcost.common.printing import listed
from swatcost.counting.workload import Workload

Files = dict[str, str]


@dataclass(frozen=True)
class ExportFormat:
    """A file format of another tool.

    `write` returns the text of each file by file name, from the model's name and its workloads; `cannot` returns notes
    on what the format cannot express. `folder`: the format always has several files.
    """

    name: str
    title: str
    source: str
    write: Callable[[str, Sequence[Workload]], Files]
    cannot: Callable[[Sequence[Workload]], list[str]]
    folder: bool = False


def identifier(name: str) -> str:
    """The name with only letters, digits and _."""
    return re.sub(r"\W", "_", name, flags=re.ASCII)


def is_sparse(each: Workload) -> bool:
    """Whether any operand is sparse."""
    return min(each.input_density, each.weight_density, each.output_density) < 1


def named(some: Sequence[Workload]) -> str:
    """The first few names."""
    return listed([each.name for each in some], 3)
