"""A sparsity for each kind of matrix, layer name or pattern; the target for all other layers."""

from swatcost.common.errors import SwatcostError
from swatcost.distributions.distribution import Distribution, Request, same_for_activations
from swatcost.distributions.tables import Row, by_weight, checked_table, layers_named, named
from swatcost.distributions.uniform import breakpoints
from swatcost.network.matrix_kinds import MATRIX_KINDS

_ROUNDING = 1e-12  # [-]


def by_kind(request: Request) -> dict[str, float]:
    """The source's sparsity [-] for the layers that it names; the target for all others, or 0 without one.

    A layer's own name takes precedence over patterns, and these over the kind of its matrix (`MATRIX_KINDS`).

    Raises SwatcostError for an entry whose layers are all kept dense.
    """
    rows = _table(request)
    found = by_weight(request, rows, "weights")
    return {layer.weight: found.get(layer.weight, request.target or 0.0) for layer in request.free}


def activations_by_kind(request: Request) -> dict[str, float]:
    """The column `acts` [-] where the source has one for a layer, or else the target of activations."""
    found = by_weight(request, _table(request), "acts")
    return {weight: found.get(weight, target) for weight, target in same_for_activations(request).items()}


def pattern(request: Request) -> tuple[int, int] | None:
    """(N, M) of a method that keeps N of every M weights, if that is the same N in every sparse layer."""
    kept = {sparsity for sparsity in by_kind(request).values() if sparsity}
    if request.group is None or len(kept) != 1:
        return None
    return round((1 - kept.pop()) * request.group), request.group


def _table(request: Request) -> dict[str, Row]:
    if request.source is None or str(request.source) in MATRIX_KINDS:
        raise SwatcostError(
            "distribution 'kinds' needs sparsities by kind of matrix, such as attention=0.5,feed-forward=0.75: give "
            "them with --from (source=)"
        )
    rows = checked_table(request)
    for name, row in rows.items():
        layers = layers_named(request, name)
        if layers and all(layer.weight in request.kept_dense for layer in layers):
            raise SwatcostError(
                f"{named(request.source)}: {name!r:.60} names only layers that are kept dense: leave it out, or make "
                "them sparse with keep_dense (--keep-dense) none"
            )
        _check_groups(request, row.get("weights", 0.0), f"{named(request.source)}: {name!r:.60}")
    return rows


def _check_groups(request: Request, sparsity: float, what: str) -> None:
    """Raises SwatcostError unless a sparsity keeps a whole number of every group of weights."""
    group = request.group or 1
    kept = (1 - sparsity) * group
    if request.group and (abs(kept - round(kept)) > _ROUNDING * group or round(kept) == 0):
        raise SwatcostError(f"{what}: the method keeps N of every {group} weights: give 1 − N / {group} for a whole N")


DISTRIBUTION = Distribution(
    name="kinds",
    title="By kind of matrix (--from attention=0.5,feed-forward=0.75); --weights for the others",
    citation="the user's",
    allocate=by_kind,
    breakpoints=breakpoints,
    acts_follow_weights=False,
    allocate_acts=activations_by_kind,
    reads_source=True,
    pattern=pattern,
    target_of_others=True,
)
