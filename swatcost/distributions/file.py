"""Sparsities from a file or a mapping, by layer name or pattern."""

from swatcost.common.errors import SwatcostError
from swatcost.distributions.distribution import Distribution, Request
from swatcost.distributions.tables import by_weight, checked_table


def from_file(request: Request) -> dict[str, float]:
    """The table's column `weights` [-]; layers that it does not name stay dense."""
    return _column(request, "weights")


def activations_from_file(request: Request) -> dict[str, float]:
    """The table's column `acts` [-] where a layer has one, or else `weights`."""
    return _column(request, "weights") | _column(request, "acts")


def _column(request: Request, column: str) -> dict[str, float]:
    if request.target is not None:
        raise SwatcostError(f"{column} {request.target:g}: the file defines the sparsities, leave {column} out")
    if request.source is None:
        raise SwatcostError("distribution 'file' needs a table of sparsities by layer: give it with --from (source=)")
    rows = checked_table(request)
    if not any({"weights", "acts"} & row.keys() for row in rows.values()):
        raise SwatcostError(f"{request.source!s:.80} has no column called weights or acts")
    return by_weight(request, rows, column)


DISTRIBUTION = Distribution(
    name="file",
    title="By layer name or pattern, from a CSV, JSON or YAML file (--from); other layers stay dense",
    citation="the user's",
    allocate=from_file,
    allocate_acts=activations_from_file,
    measured=True,
    reads_source=True,
)
