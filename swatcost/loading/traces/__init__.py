"""Traces of the zoo's networks that ship with the package, so that they need no torch.

`python -m swatcost.loading.traces` writes them anew.
"""

from pathlib import Path

from swatcost.network import Network, parse_network

_SHIPPED = Path(__file__).parent


def shipped(name: str) -> Network | None:
    """The shipped trace of a zoo network as it is defined; None if there is none that this version can read."""
    try:
        content = (_SHIPPED / f"{name}.json").read_bytes()
    except OSError:
        return None
    return parse_network(content, f"the shipped trace of {name}")
