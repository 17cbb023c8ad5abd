"""SWAT-M: layers whose active weights have more momentum keep more weights."""

from collections.abc import Mapping
from pathlib import Path

from swatcost.common.errors import SwatcostError
from swatcost.distributions.checkpoints import momentum_shares
from swatcost.distributions.distribution import Distribution, Request
from swatcost.distributions.tables import by_weight, read_table

_LARGEST = 1e30
_CHECKPOINTS = (".pt", ".pth", ".bin", ".ckpt")
_OPTIMIZER_KEYS = frozenset({"optimizer", "optimizer_state_dict"})


def momentum(request: Request) -> dict[str, float]:
    """Non-zeros proportional to each layer's share of momentum, keeping their total.

    v_l = mean |momentum| over the active weights of layer l, normalised over layers; nnz_l = v_l · (1 − s) · Σ n.
    A layer that would exceed its size becomes dense; the excess is divided evenly among the others, repeatedly.

    source is a table with a column `share` (or one number per layer), the record of a run (.jsonl), or a checkpoint
    with an optimizer's momentum.
    Source: Dettmers and Zettlemoyer, 2019; SWAT, Section 3.3.2 (SWAT-M). Their code rounds nnz_l up and makes a
    layer dense from 0.99 of its size, which changes the total; here the total is kept exactly.
    """
    if request.source is None:
        raise SwatcostError(
            "distribution 'momentum' needs shares by layer or a checkpoint: give it with --from (source=)"
        )
    shares = _shares(request)
    if missing := [layer.name for layer in request.free if layer.weight not in shares]:
        raise SwatcostError(f"no momentum share for layer {missing[0]}")
    if not request.free:
        return {}
    if not all(0 <= each <= _LARGEST for each in shares.values()) or not any(
        shares[each.weight] for each in request.free
    ):
        raise SwatcostError(f"momentum shares have to be non-negative, at most {_LARGEST:g}, and not all zero")
    return _fill(request, shares)


def _fill(request: Request, shares: dict[str, float]) -> dict[str, float]:
    sizes = {layer.weight: layer.weight_elements for layer in request.free}
    total = (1 - request.required_target()) * request.elements
    total -= request.dense_elements
    if total < 0 or total > sum(sizes.values()):
        raise SwatcostError(f"weights {request.target:g} cannot be reached: layers kept dense hold too many weights")
    all_shares = sum(shares[weight] for weight in sizes)
    kept = {weight: shares[weight] / all_shares * total for weight in sizes}
    open_layers = list(sizes)  # in order, as sums of floats depend on it
    while full := [weight for weight in open_layers if kept[weight] > sizes[weight]]:
        excess = sum(kept[weight] - sizes[weight] for weight in full)
        open_layers = [weight for weight in open_layers if weight not in full]
        kept |= {weight: float(sizes[weight]) for weight in full}
        if not open_layers:
            break
        kept |= {weight: kept[weight] + excess / len(open_layers) for weight in open_layers}
    return {weight: 1 - kept[weight] / sizes[weight] for weight in sizes}


def _shares(request: Request) -> dict[str, float]:
    in_memory = isinstance(request.source, Mapping) and not _OPTIMIZER_KEYS.isdisjoint(request.source)
    if in_memory or (isinstance(request.source, str | Path) and Path(request.source).suffix in _CHECKPOINTS):
        return momentum_shares(request)
    rows = read_table(request.source)
    column = "share" if any("share" in row for row in rows.values()) else "weights"
    if column == "weights" and Path(str(request.source)).suffix == ".jsonl":
        raise SwatcostError(f"{request.source} has no momentum: the run had one step, or an optimizer without momentum")
    return by_weight(request, rows, column)


DISTRIBUTION = Distribution(
    name="momentum",
    title="Proportional to layers' momentum, from shares or an optimizer's state (--from)",
    citation="Dettmers and Zettlemoyer 2019; SWAT-M",
    allocate=momentum,
    reads_source=True,
    keeps_total=True,
)
