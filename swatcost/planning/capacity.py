"""What fits: the largest batch, the sparsity that a batch needs; and what moving tensors to the host costs."""

from collections.abc import Callable
from dataclasses import replace

from swatcost.common.errors import SwatcostError
from swatcost.common.units import bytes_from
from swatcost.devices import device_names, load_device
from swatcost.memory.dense_step import training_memory
from swatcost.memory.sparse_step import SparseMemory, sparse_memory
from swatcost.methods import LayerSparsity
from swatcost.network import Network
from swatcost.sparsity import SparsityPlan

_MOST_SAMPLES = 2**40
_LEAST_WITHOUT_UNIT = 10**6  # bytes: no step takes and no link moves fewer, and whoever writes 11 means gigabytes
_MOST_SPARSITY, _FINEST = 0.999, 1e-3  # of activations [-]: the most that is looked at, and how finely


def capacity_of(text: str) -> int:
    """Bytes of an amount of memory, or of the memory of a device of that name."""
    if text not in device_names() and not text.endswith(".toml"):
        return _amount(text)
    capacity = load_device(text).memory_bytes
    if capacity is None:
        raise SwatcostError(f"the profile of {text} does not say how much memory it has: give an amount, such as 11GB")
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
    if not 1 <= link < 1e18:
        raise SwatcostError(f"link {link!r:.40}: give bytes per second, such as 25e9 or '25GB'")
    return float(link)


def _amount(text: str) -> int:
    """Bytes of what a person writes, who means a larger unit where there are few of them and none is given."""
    amount = bytes_from(text)
    if amount < _LEAST_WITHOUT_UNIT and not any(map(str.isalpha, text)):
        raise SwatcostError(f"{text!r:.40} is that many bytes: give a unit, such as {text.strip()}GB")
    return amount


def largest_batch(peak: Callable[[int], int], capacity: int) -> int:
    """The most samples whose peak [bytes] is within capacity; 0 if not even one is."""
    if peak(1) > capacity:
        return 0
    fits, too_many = 1, 2
    while too_many < _MOST_SAMPLES and peak(too_many) <= capacity:
        fits, too_many = too_many, 2 * too_many
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        fits, too_many = (middle, too_many) if peak(middle) <= capacity else (fits, middle)
    return fits


def view_of(network: Network, plan: SparsityPlan, batch_size: int, optimizer: str, precision: str) -> SparseMemory:
    """The three views of a step of so many samples."""
    step = training_memory(network, batch_size=batch_size, optimizer=optimizer, precision=precision)
    return sparse_memory(network, plan, step)


def needed_sparsity(
    network: Network, plan: SparsityPlan, batch_size: int, optimizer: str, precision: str, capacity: int
) -> float | None:
    """The least activation sparsity [-], alike in all layers that are sparse, with which the compressed step fits.

    None if no sparsity makes it fit; 0 if the dense step does.
    """

    def peak(sparsity: float) -> int:
        layers = tuple(
            LayerSparsity(each.weight, sparsity if each.is_sparse else 0.0, each.output) for each in plan.layers
        )
        view = view_of(network, replace(plan, layers=layers), batch_size, optimizer, precision)
        return view.compressed_peak if sparsity else view.dense.peak.bytes

    if peak(0.0) <= capacity:
        return 0.0
    low, high = 0.0, _MOST_SPARSITY
    if peak(high) > capacity:
        return None
    while high - low > _FINEST:
        middle = (low + high) / 2
        low, high = (low, middle) if peak(middle) <= capacity else (middle, high)
    return high


def moving_seconds(saved_bytes: int, bytes_per_second: float) -> float:
    """The time [s] of moving what is saved to the host and back over a link, if nothing else hides it.

    >>> moving_seconds(16_000_000_000, 16e9)  # out, and in again
    2.0
    """
    return 2 * saved_bytes / bytes_per_second
