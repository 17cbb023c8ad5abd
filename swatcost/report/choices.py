"""What can be chosen by name, as a table for a terminal."""

from __future__ import annotations

from tabulate import tabulate


def choices(what: str, *, width: int) -> str:
    """A table of models, methods, distributions, conventions or devices; long cells wrap to fit width columns."""
    header, rows = _ROWS[what]()
    text = ""
    for longest in range(width, 10, -1):
        wrapped = [None, *[longest] * (len(header) - 1)]
        text = tabulate(rows, headers=header, tablefmt="simple", disable_numparse=True, maxcolwidths=wrapped)
        if max(map(len, text.splitlines())) <= width:
            break
    return text


def _models() -> tuple[list[str], list[list[str]]]:
    from swatcost_models import ZOO

    from swatcost.report.numbers import shape

    rows = [[each.name, each.title, shape(each.input_shape), str(each.classes), each.citation] for each in ZOO.values()]
    return ["model", "network", "input", "classes", "source"], rows


def _methods() -> tuple[list[str], list[list[str]]]:
    from swatcost.methods import METHODS, Method

    def row(method: Method) -> list[str]:
        operands = [", ".join(sorted(each)) or "-" for each in method.sparse.values()]
        return [method.name, f"{method.title} ({method.citation})", *operands, method.weight_gradient]

    return ["method", "title and source", "sparse\nforward", "grad\ninput", "grad\nweight", "needs\ngradient\nof"], [
        row(each) for each in METHODS
    ]


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
