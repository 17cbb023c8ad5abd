"""A name or a file → a Network: the zoo, shipped traces, the trace cache, other packages' networks, saved traces."""

from swatcost.loading.load import ENTRY_POINTS, counted_network, load, loading_words, place_of, with_input

__all__ = ["ENTRY_POINTS", "counted_network", "load", "loading_words", "place_of", "with_input"]
