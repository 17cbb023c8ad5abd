"""What can be chosen by name, as a table for a terminal."""

from __future__ import annotations

from tabulate import tabulate


def choices(what: str, *, width: int) -> str:
    """A table of models, methods, distributions, conventions or devices, wrapped to width columns."""
    header, rows = _ROWS[what]()
    names = max(len(row[0]) for row in rows)
    room = max(20, (width - names - 2 * (len(header) - 1)) // (len(header) - 1))
    widths = [None, *[room] * (len(header) - 1)]
    return str(tabulate(rows, headers=header, tablefmt="simple", disable_numparse=True, maxcolwidths=widths))


def _models() -> tuple[list[str], list[list[str]]]:
    from swatcost_models import ZOO

    from swatcost.report.numbers import shape

    rows = [[each.name, each.title, shape(each.input_shape), str(each.classes), each.citation] for each in ZOO.values()]
    return ["model", "network", "input", "classes", "source"], rows


def _methods() -> tuple[list[str], list[list[str]]]:
    from swatcost.methods import METHODS

    def sparse(operands: frozenset[str]) -> str:
        return ", ".join(sorted(operands)) or "-"

    rows = [[each.name, each.title, *map(sparse, each.sparse.values()), each.citation] for each in METHODS]
    return ["method", "title", "forward", "grad_input", "grad_weight", "source"], rows


def _distributions() -> tuple[list[str], list[list[str]]]:
    from swatcost.distributions import DISTRIBUTIONS

    return ["distribution", "title", "source"], [[each.name, each.title, each.citation] for each in DISTRIBUTIONS]


def _conventions() -> tuple[list[str], list[list[str]]]:
    from swatcost.conventions import CONVENTIONS

    return ["convention", "what it counts", "source"], [[each.name, each.title, each.source] for each in CONVENTIONS]


def _devices() -> tuple[list[str], list[list[str]]]:
    from swatcost.devices import device_names, load_device

    devices = [load_device(name) for name in device_names()]
    return ["device", "title", "source"], [[each.name, each.title, each.source] for each in devices]


_ROWS = {
    "models": _models,
    "methods": _methods,
    "distributions": _distributions,
    "conventions": _conventions,
    "devices": _devices,
}
