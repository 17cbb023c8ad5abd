"""Global magnitude: one threshold for all weights of a checkpoint."""

from swatcost.common.errors import SwatcostError
from swatcost.distributions.checkpoints import weights_by_name
from swatcost.distributions.distribution import Distribution, Request


def global_magnitude(request: Request) -> dict[str, float]:
    """Keeps the largest (1 − s) · Σ n weights across all layers; weights of layers kept dense count as kept,
    unless the request leaves them outside the total.

    Raises SwatcostError if those alone exceed the total.
    """
    import numpy

    magnitudes = weights_by_name(request)
    free = request.free
    if not free:
        return {}
    everything = numpy.concatenate([magnitudes[layer.weight] for layer in free])
    keep = round((1 - request.required_target()) * request.elements) - request.dense_elements
    if not 0 <= keep <= everything.size:
        raise SwatcostError(f"weights {request.target:g} cannot be reached: layers kept dense hold too many weights")
    kept = numpy.zeros(everything.size, dtype=bool)
    kept[numpy.argsort(-everything, kind="stable")[:keep]] = True
    bounds = numpy.cumsum([layer.weight_elements for layer in free])[:-1]
    parts = numpy.split(kept, bounds)
    return {layer.weight: 1 - float(part.mean()) for layer, part in zip(free, parts, strict=True)}


DISTRIBUTION = Distribution(
    name="global",
    title="One magnitude threshold for all weights of a checkpoint (--from)",
    citation="Han et al. 2015",
    allocate=global_magnitude,
    reads_source=True,
    keeps_total=True,
)
