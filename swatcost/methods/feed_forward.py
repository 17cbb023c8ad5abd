"""Which layers are a transformer's feed-forward layers, for methods that make only these sparse."""

from swatcost.network.layer import Layer
from swatcost.network.matrix_kinds import kind_by_name

FEED_FORWARD = "feed-forward layers"


def is_feed_forward(layer: Layer) -> bool:
    """Whether a linear layer's module is named as feed-forward layers or those of experts are."""
    return kind_by_name(layer) in ("feed-forward", "experts")


def in_blocks_of_4(layer: Layer) -> bool:
    """Whether it is one of them with multiples of 4 inputs and outputs, so that 2:4 fits both passes that read it."""
    return is_feed_forward(layer) and not any(size % 4 for size in layer.weight_shape)
