"""The settings of the reference; this file does not import torch."""

from swatcost.setting import NOT_TIMED, Scope

_WITHOUT = {
    "convention": "executed work is counted under `exact`, leave it out",
    "device": "the reference runs on this machine, leave it out",
    "default_act_sparsity": "the zeros of activations are measured, leave it out",
    "hidden": "use --ahead, which starts selections early",
    **NOT_TIMED,
}
_HELP = {
    "method": "dense, swat, swat-structured, saw or meprop.",
    "grads": "Sparsity of output gradients, for meprop.",
    "selection": "Algorithm for thresholds: exact, kthvalue, topk, sort, partition, radix, sampled, histogram.",
    "one_sample": "Find activations' thresholds on the first sample (A.4).",
}

RUNNING = Scope(
    without=_WITHOUT,
    defaults={"period": 100, "batch_size": 64, "selection": "exact"},
    default_is={"steps": "from --epochs"},
    help={**_HELP, "steps": "Length of the run in training steps."},
)
"""The settings of a training run."""

VALIDATING = Scope(
    without=_WITHOUT,
    defaults={"steps": 2, "batch_size": 4, "selection": "exact"},
    help={**_HELP, "steps": "Training steps to execute."},
)
"""The settings of a validation."""
