"""The shipped traces of the zoo's networks, which load without torch.

`python -m swatcost.loading.traces` rewrites them, or those of the networks that it is given.
"""

from pathlib import Path

import msgspec

from swatcost.common.errors import SwatcostError
from swatcost.loading.scaled_trace import ScaledTrace
from swatcost.network import Network, parse_network

_SHIPPED = Path(__file__).parent


def shipped(name: str, tokens: int | None = None) -> Network | None:
    """The shipped trace of a zoo network with its default classes; None if there is none.

    `tokens` is the number of them in one sample, for a network that takes tokens; others have their default input
    shape.
    """
    try:
        content = (_SHIPPED / f"{name}.json").read_bytes()
    except OSError:
        return None
    source = f"the shipped trace of {name}"
    if tokens is None:
        return parse_network(content, source)
    try:
        return msgspec.json.decode(content, type=ScaledTrace).network(tokens, source)
    except (ValueError, LookupError) as error:
        raise SwatcostError(f"{source} is not usable: {error}") from None
