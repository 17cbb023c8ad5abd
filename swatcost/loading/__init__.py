"""Name or file → Network: the zoo, shipped traces, the trace cache, networks of other packages, files."""

from swatcost.loading.given import counted_network, with_input
from swatcost.loading.load import ENTRY_POINTS, load, loading_words, place_of

__all__ = ["ENTRY_POINTS", "counted_network", "load", "loading_words", "place_of", "with_input"]
