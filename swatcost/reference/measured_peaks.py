"""The best rates that a machine's matrix products and its memory reach."""

import torch

from swatcost.devices import Rates
from swatcost.reference.timer import computing_in, timed

_MATRIX = 1024  # rows and columns
COPIED = 2**28  # bytes


def peaks(copied: int, on: str) -> Rates:
    """The throughput of products in fp32 and the bandwidth of copies of so many bytes."""
    left, right = (torch.randn(_MATRIX, _MATRIX, device=on) for _ in range(2))
    source = torch.zeros(copied, dtype=torch.uint8, device=on)
    target = torch.empty_like(source)
    with computing_in("fp32", on):
        products = timed(torch.mm, lambda: (left, right), on)
    copies = timed(target.copy_, lambda: (source,), on)
    return Rates(macs_per_second=_MATRIX**3 / products.seconds, bytes_per_second=2 * copied / copies.seconds)
