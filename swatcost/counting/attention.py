"""Products of two activations, as the switch of attention has them."""

from swatcost.counting.costs import Cost
from swatcost.counting.switches import Attention
from swatcost.network.batches import per_sample
from swatcost.network.layer import Layer

_SOFTMAX_MACS = 1.5
"""3 FLOPs per score and pass: 3 · heads · s per token and block (Hoffmann et al. 2022, appendix F)."""
_FLASH_BACKWARD = 2.5
"""FLOPs of FlashAttention's backward pass over those of its forward pass: five products for two (Dao 2023, 4.1)."""


def attention_costs(attention: Attention, layer: Layer) -> tuple[Cost, Cost]:
    """MACs of a product's forward pass and of its gradients, for the traced batch; exact integers where they are whole.

    What no attention kernel executes, and attention that a mask of unknown values may make causal, counts in full
    unless nothing counts.
    """
    forward, gradients = layer.product_macs()
    told = layer.attention
    if attention == "none":
        return Cost(), Cost()
    if told is not None and attention != "whole":
        forward, gradients = (_of_pairs(attention, layer, macs) for macs in (forward, gradients))
        if attention == "flash":
            both = gradients / (2 * forward) if forward else 0  # the share of the two gradients that is computed
            gradients = _whole(_FLASH_BACKWARD * forward * both)
        if attention == "softmax" and told.computes_scores:
            gradients = _whole(gradients + (2 * _SOFTMAX_MACS * told.pairs if gradients else 0))
            forward = _whole(forward + _SOFTMAX_MACS * told.pairs)
    return Cost(forward, forward), Cost(gradients, gradients)


def _of_pairs(attention: Attention, layer: Layer, macs: float) -> float:
    told = layer.attention
    assert told is not None
    if attention in ("half", "flash"):
        return _whole(macs / 2) if told.causal else macs
    counted = {"needed": told.needed, "window": told.in_window}.get(attention, told.pairs)
    return per_sample(macs * counted, told.pairs)


def _whole(macs: float) -> float:
    return int(macs) if macs == int(macs) else macs
