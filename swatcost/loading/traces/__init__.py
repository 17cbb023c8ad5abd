"""The shipped traces of the zoo's networks, which load without torch.

`python -m swatcost.loading.traces` rewrites them.
"""

from pathlib import Path

from swatcost.network import Network, parse_network

_SHIPPED = Path(__file__).parent


def shipped(name: str) -> Network | None:
    """The shipped trace of a zoo network with its default input shape and classes; None if there is none."""
    try:
        content = (_SHIPPED / f"{name}.json").read_bytes()
    except OSError:
        return None
    return parse_network(content, f"the shipped trace of {name}")
