"""Which layers are a transformer's feed-forward layers, for methods that make only these sparse."""

from swatcost.network.layer import Layer

FEED_FORWARD = "feed-forward layers"

_PARTS = {
    "mlp", "ffn", "ff", "feed_forward", "feedforward", "DenseReluDense", "intermediate", "experts",
    "fc1", "fc2", "linear1", "linear2", "lin1", "lin2", "c_fc", "gate_proj", "up_proj", "down_proj",
}  # fmt: skip
"""Parts of module names in torchvision, timm, transformers, nanoGPT and torch's own TransformerEncoderLayer."""


def is_feed_forward(layer: Layer) -> bool:
    """Whether a linear layer's module is named as feed-forward layers are.

    In BERT the second one is `output.dense`, as is, below `attention`, the projection of attention.
    """
    parts = layer.name.split(".")
    named = not _PARTS.isdisjoint(parts) or (parts[-2:] == ["output", "dense"] and "attention" not in parts)
    return layer.kind == "linear" and named


def in_blocks_of_4(layer: Layer) -> bool:
    """Whether it is one of them with multiples of 4 inputs and outputs, so that 2:4 fits both passes that read it."""
    return is_feed_forward(layer) and not any(size % 4 for size in layer.weight_shape)
