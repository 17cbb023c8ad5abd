"""The models, methods, devices, … that can be chosen by name, as a table for a terminal."""

from collections.abc import Sequence

from swatcost_models import ZOO
from tabulate import tabulate

from swatcost.accelerator.architecture import architecture_names, load_architecture
from swatcost.counting.conventions import CONVENTIONS
from swatcost.devices import device_names, load_device
from swatcost.distributions import DISTRIBUTIONS
from swatcost.memory.optimizers import OPTIMIZERS
from swatcost.memory.precisions import PRECISIONS
from swatcost.memory.sharding import SHARDINGS
from swatcost.methods import METHODS, Method
from swatcost.network.matrix_kinds import MATRIX_KINDS
from swatcost.report.numbers import shape
from swatcost.report.table import wrap

_ROOM_FOR_ALL = 150  # columns


def choices(what: str, *, width: int) -> str:
    """The table of `what`; long cells wrap between words to fit width columns.

    In a wide terminal, methods also show the rest of the paper's Table 1, the layers they keep dense, and how they
    depart from their sources.
    """
    in_full = what == "methods" and width >= _ROOM_FOR_ALL
    header, rows = _methods_in_full() if in_full else CHOICES[what]()
    parts = [
        [word for cell in column for word in cell.replace("-", "- ").split()] for column in zip(*rows, strict=True)
    ]
    words = [max(map(len, each)) for each in parts]
    text = ""
    for longest in range(width, 1, -1):
        wrapped = [None, *(max(longest, word) for word in words[1:])]
        text = tabulate(rows, headers=header, tablefmt="simple", disable_numparse=True, maxcolwidths=wrapped)
        if max(map(len, text.splitlines())) <= width:
            break
    departures = [f"- {each.name}: {each.departures}" for each in METHODS if each.departures] if in_full else []
    return "\n".join([text, *([""] if departures else []), *(wrap(each, width, "  ") for each in departures)])


def _models() -> tuple[list[str], list[list[str]]]:
    rows = [[each.name, each.title, shape(each.input_shape), str(each.classes), each.citation] for each in ZOO.values()]
    return ["model", "network", "input", "classes", "source"], rows


_OPERANDS: tuple[dict[str, str], dict[str, str]] = ({"output": "output gradient"}, {})  # backward, forward


def _methods() -> tuple[list[str], list[list[str]]]:
    def row(method: Method) -> list[str]:
        operands = [
            ", ".join(sorted(_OPERANDS[in_pass == "forward"].get(each, each) for each in sparse)) or "-"
            for in_pass, sparse in method.sparse.items()
        ]
        return [method.name, f"{method.title} ({method.citation})", *operands, method.weight_gradient]

    return [
        "method",
        "title and source",
        "sparse\nforward",
        "sparse\ngrad\ninput",
        "sparse\ngrad\nweight",
        "weight\ngrads\nneeded",
    ], [row(each) for each in METHODS]


def _methods_in_full() -> tuple[list[str], list[list[str]]]:
    def more(method: Method) -> list[str]:
        networks = [word for word in ("unstructured", "structured") if getattr(method, word)]
        schedule = "constant" if len(method.phases(1000)) == 1 else "changes over the run"
        relies = "ReLU sparsity" if method.relies_on_default_sparsity else "-"
        kept = ", ".join(method.keeps_dense) or "-"
        return [method.across_layers, ", ".join(networks) or "-", schedule, relies, kept]

    header, rows = _methods()
    header = [*header, "across\nlayers", "network", "sparsity", "relies on", "keeps\ndense"]
    return header, [[*row, *more(method)] for row, method in zip(rows, METHODS, strict=True)]


def _distributions() -> tuple[list[str], list[list[str]]]:
    return ["distribution", "title", "source"], [[each.name, each.title, each.citation] for each in DISTRIBUTIONS]


def _kinds() -> tuple[list[str], list[list[str]]]:
    return ["kind of matrix", "which layers"], [[each.name, each.meaning] for each in MATRIX_KINDS.values()]


def _conventions() -> tuple[list[str], list[list[str]]]:
    return ["convention", "what it counts", "source"], [[each.name, each.title, each.source] for each in CONVENTIONS]


def _architectures() -> tuple[list[str], list[list[str]]]:
    every = [load_architecture(name) for name in architecture_names()]
    return ["name", "title", "source"], [[each.name, each.title, each.source] for each in every]


def _devices() -> tuple[list[str], list[list[str]]]:
    devices = [load_device(name) for name in device_names()]
    return ["device", "title", "times", "source"], [
        [each.name, each.title, "measured" if each.measured else "data sheet", each.source] for each in devices
    ]


def _precisions() -> tuple[list[str], list[list[str]]]:
    rows = [[each.name, each.title, _of(each.products), _of(each.convolutions)] for each in PRECISIONS]
    return ["precision", "what it is", "products in", "convolutions in"], rows


def _of(names: Sequence[str]) -> str:
    """The precisions of products, of which a device uses the first that it has."""
    return " or ".join(names)


def _optimizers() -> tuple[list[str], list[list[str]]]:
    rows = [[each.name, each.title, ", ".join(each.updates)] for each in OPTIMIZERS]
    return ["optimizer", "what it keeps", "updates, its default first"], rows


def _shardings() -> tuple[list[str], list[list[str]]]:
    return ["sharding", "what it is"], [[each.name, each.title] for each in SHARDINGS]


CHOICES = {
    "models": _models,
    "methods": _methods,
    "distributions": _distributions,
    "kinds": _kinds,
    "conventions": _conventions,
    "devices": _devices,
    "architectures": _architectures,
    "precisions": _precisions,
    "optimizers": _optimizers,
    "shardings": _shardings,
}
