"""Settings as the reference takes them, which need no torch."""

from swatcost.setting import Scope

_WITHOUT = {
    "convention": "what is executed is counted as `exact` does",
    "device": "it runs on this machine",
    "default_act_sparsity": "the zeros of activations are measured",
    "hidden": "the reference starts selections early instead: --ahead",
}
_HELP = {
    "method": "dense, swat, swat-structured, saw or meprop.",
    "grads": "Sparsity of outputs' gradients, for meprop.",
    "selection": "How a threshold is found: exact, kthvalue, topk, sort, partition, radix, sampled, histogram.",
    "one_sample": "Find activations' thresholds on the first sample (A.4).",
}

RUNNING = Scope(
    without=_WITHOUT,
    defaults={"period": 100, "batch_size": 64, "selection": "exact"},
    default_is={"steps": "that of --epochs"},
    help={**_HELP, "steps": "Length of the run in training steps."},
)
"""Of a training run."""

VALIDATING = Scope(
    without=_WITHOUT,
    defaults={"steps": 2, "batch_size": 4, "selection": "exact"},
    help={**_HELP, "steps": "Training steps to execute."},
)
"""Of a validation."""
