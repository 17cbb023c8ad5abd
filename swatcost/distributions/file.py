"""Sparsities from a file or a mapping, by layer name or pattern."""

from swatcost.common.errors import SwatcostError
from swatcost.distributions.distribution import Distribution, Spread
from swatcost.distributions.tables import by_weight, read_table


def from_file(request: Spread) -> dict[str, float]:
    """The table's column `weights` [-]; a layer that it does not name stays dense."""
    return _column(request, "weights")


def activations_from_file(request: Spread) -> dict[str, float]:
    """The table's column `acts` [-], where it has one, or else `weights`."""
    return _column(request, "weights") | _column(request, "acts")


def _column(request: Spread, column: str) -> dict[str, float]:
    if request.target is not None:
        raise SwatcostError(f"{column} {request.target:g}: the file says how sparse each layer is, leave {column} out")
    if request.source is None:
        raise SwatcostError("distribution 'file' needs a table of sparsities by layer: name it with --from (source=)")
    rows = read_table(request.source)
    if not any({"weights", "acts"} & row.keys() for row in rows.values()):
        raise SwatcostError(f"{request.source!s:.80} has no column called weights or acts")
    return by_weight(rows, column, request.layers)


DISTRIBUTION = Distribution(
    name="file",
    title="By layer name or pattern, from a CSV, JSON or YAML file (--from)",
    citation="the user's",
    spread=from_file,
    spread_acts=activations_from_file,
    measured=True,
    reads_source=True,
)
