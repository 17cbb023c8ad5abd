"""Name or file → Network: the zoo, shipped traces, the trace cache, networks of other packages, saved traces."""

from swatcost.loading.load import ENTRY_POINTS, counted_network, load, loading_words, place_of, with_input

__all__ = ["ENTRY_POINTS", "counted_network", "load", "loading_words", "place_of", "with_input"]
