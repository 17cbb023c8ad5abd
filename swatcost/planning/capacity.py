"""What fits in memory: the largest batch and the sparsity that a batch needs; and the time to offload to the host."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from numbers import Real

from swatcost.common.errors import SwatcostError
from swatcost.common.units import bytes_from
from swatcost.devices import device_names, load_device
from swatcost.memory.dense_step import dense_step
from swatcost.memory.execution import Execution
from swatcost.memory.sparse_step import SparseMemory, sparse_memory
from swatcost.methods import LayerSparsity
from swatcost.network import Network
from swatcost.sparsity import SparsityPlan

_MAX_SAMPLES = 2**40
_MIN_WITHOUT_UNIT = 10**6  # bytes: no step needs fewer, no link moves fewer; someone who writes 11 means gigabytes
_MAX_SPARSITY, _RESOLUTION = 0.999, 1e-3  # of the search over activation sparsities [-]


def capacity_of(text: str) -> int:
    """Bytes of an amount such as "11GB", or of the memory of the device of that name."""
    if text not in device_names() and not text.endswith(".toml"):
        return _amount(text)
    capacity = load_device(text).memory_bytes
    if capacity is None:
        raise SwatcostError(f"the profile of {text} gives no memory size: give an amount, such as 11GB")
    return capacity


def rate_of(link: str | float) -> float:
    """Bytes per second of a link, from a number of them or what a person writes, such as 25GB.

    Raises SwatcostError for what is no rate, and for text without a unit that would be slower than any link.
    """
    if isinstance(link, str):
        try:
            return float(_amount(link))
        except SwatcostError:
            raise SwatcostError(f"link {link!r:.40}: give bytes per second with a unit, such as 25GB") from None
    if isinstance(link, bool) or not isinstance(link, Real) or not 1 <= link < 1e18:
        raise SwatcostError(f"link {link!r:.40}: give bytes per second, such as 25e9 or '25GB'")
    return float(link)


def _amount(text: str) -> int:
    """Bytes, as a person writes them. Raises SwatcostError for so few without a unit that a larger one is meant."""
    amount = bytes_from(text)
    if amount < _MIN_WITHOUT_UNIT and not any(map(str.isalpha, text)):
        raise SwatcostError(f"{text!r:.40} means {text.strip()} bytes: give a unit, such as {text.strip()}GB")
    return amount


def largest_batch(peak: Callable[[int], int], capacity: int) -> int:
    """The largest batch whose peak [bytes] is within capacity; 0 if even one sample is too large.

    The peak must not fall with the batch. It is the largest of a few lines, so a chord finds the answer in few steps.
    """
    peak = cache(peak)
    if peak(1) > capacity:
        return 0
    fits, too_many = 1, 2
    while too_many < _MAX_SAMPLES and peak(too_many) <= capacity:
        slope = max(1, (peak(too_many) - peak(fits)) // (too_many - fits))
        ahead = too_many + (capacity - peak(too_many)) // slope + 1
        fits, too_many = too_many, min(_MAX_SAMPLES, max(2 * too_many, ahead))
    while too_many - fits > 1:
        rise = max(1, peak(too_many) - peak(fits))
        chord = fits + (capacity - peak(fits)) * (too_many - fits) // rise
        middle = min(max(chord, fits + 1), too_many - 1)
        fits, too_many = (middle, too_many) if peak(middle) <= capacity else (fits, middle)
        if too_many - fits > 1:  # on the last of the lines the chord is exact
            fits, too_many = (fits + 1, too_many) if peak(fits + 1) <= capacity else (fits, fits + 1)
    return fits


def view_of(network: Network, plan: SparsityPlan, batch_size: int, execution: Execution) -> SparseMemory:
    """The memory of a step of `batch_size` samples: dense, as masked dense tensors, and compressed."""
    return sparse_memory(network, plan, dense_step(network, batch_size, execution))


def needed_sparsity(
    network: Network, plan: SparsityPlan, batch_size: int, execution: Execution, capacity: int
) -> float | None:
    """The lowest activation sparsity [-], the same in all sparse layers, at which the compressed step fits.

    None if no sparsity does; 0 if the dense step fits.
    """

    def peak(sparsity: float) -> int:
        layers = tuple(
            LayerSparsity(each.weight, sparsity if each.is_sparse else 0.0, each.output) for each in plan.layers
        )
        view = view_of(network, replace(plan, layers=layers), batch_size, execution)
        return view.compressed_peak if sparsity else view.dense.peak.bytes

    if peak(0.0) <= capacity:
        return 0.0
    low, high = 0.0, _MAX_SPARSITY
    if peak(high) > capacity:
        return None
    while high - low > _RESOLUTION:
        middle = (low + high) / 2
        low, high = (low, middle) if peak(middle) <= capacity else (middle, high)
    return high


def moving_seconds(saved_bytes: int, bytes_per_second: float) -> float:
    """Time [s] to offload the saved tensors to the host and bring them back over a link, with no overlap.

    >>> moving_seconds(16_000_000_000, 16e9)  # out and back
    2.0
    """
    return 2 * saved_bytes / bytes_per_second
