"""The settings of the reference; this file does not import torch."""

from collections.abc import Mapping

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
    without={name: reason for name, reason in _WITHOUT.items() if name != "device"},
    defaults={"period": 100, "batch_size": 64, "selection": "exact", "device": "epyc2"},
    default_is={"steps": "from --epochs"},
    help={
        **_HELP,
        "steps": "Length of the run in training steps.",
        "device": "With --kernels auto: the device profile, or a .toml file, that says where sparse kernels pay.",
    },
)
"""The settings of a training run."""

_OF_THE_STEP: Mapping[str, str] = {
    "precision": "steps are executed in single precision, leave it out",
    "optimizer": "steps are executed with SGD with momentum, leave it out",
    "mfu": "steps are executed, leave it out",
}

VALIDATING = Scope(
    without={**_WITHOUT, **_OF_THE_STEP},
    defaults={"steps": 2, "batch_size": 4, "selection": "exact"},
    help={**_HELP, "steps": "Training steps to execute."},
)
"""The settings of a validation."""

TIMING = Scope(
    without={
        **{name: reason for name, reason in VALIDATING.without.items() if name != "device"},
        "steps": "--repetitions says how many steps of each kind are timed, leave it out",
        "hidden": "the reference waits for its selections, leave it out",
    },
    defaults={name: value for name, value in VALIDATING.defaults.items() if name != "steps"},
    help=_HELP,
)
"""The settings of a validation of times: they include the device whose profile predicts them."""

VALIDATING_OR_TIMING = Scope(
    without={name: reason for name, reason in VALIDATING.without.items() if name != "device"},
    defaults=VALIDATING.defaults,
    help={**VALIDATING.help, "device": "With --time: the device profile, or a .toml file, that predicts times."},
)
"""The settings of the command that does either."""
