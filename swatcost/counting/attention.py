"""Products of two activations, as the switch of attention has them."""

from swatcost.counting import switches
from swatcost.counting.costs import Cost
from swatcost.network.attention import Attention
from swatcost.network.batches import per_sample
from swatcost.network.layer import Layer

_SOFTMAX_MACS = 1.5
"""3 FLOPs per score and pass: 3 · heads · s per token and block (Hoffmann et al. 2022, appendix F)."""
_FLASH_BACKWARD = 2.5
"""FLOPs of FlashAttention's backward pass over those of its forward pass, five products for two, where four are 2."""


def attention_costs(attention: switches.Attention, layer: Layer) -> tuple[Cost, Cost]:
    """MACs of a product's forward pass and of its gradients, for the traced batch; exact integers where they are whole.

    What no attention kernel executes, and attention that a mask of unknown values may make causal, counts in full
    unless nothing counts.
    """
    forward: float
    gradients: float
    forward, gradients = layer.product_macs()
    told = layer.attention
    if attention == "none":
        return Cost(), Cost()
    if told is not None and attention != "whole":
        forward, gradients = (_of_pairs(attention, told, macs) for macs in (forward, gradients))
        if attention == "flash":
            gradients = _whole(gradients * _FLASH_BACKWARD / 2)
        if attention == "softmax" and told.computes_scores:
            of_scores = _SOFTMAX_MACS * told.pairs
            forward, gradients = _whole(forward + of_scores), _whole(gradients + (2 * of_scores if gradients else 0))
    return Cost(forward, forward), Cost(gradients, gradients)


def _of_pairs(attention: switches.Attention, told: Attention, macs: float) -> float:
    """The MACs of the pairs of a query and a key that count."""
    if attention in ("half", "flash"):
        return _whole(macs / 2) if told.causal else macs
    counted = {"needed": told.needed, "window": told.in_window}.get(attention, told.pairs)
    return per_sample(macs * counted, told.pairs)


def _whole(macs: float) -> float:
    return int(macs) if macs == int(macs) else macs
