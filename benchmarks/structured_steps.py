"""Times of training steps of structured SWAT beside unstructured SWAT and torch's dense step.

Run as `python -m benchmarks.structured_steps`, while nothing else runs: writes STRUCTURED_STEPS.md, in about 3 minutes.
"""

from pathlib import Path

import torch

from benchmarks.sparse_steps import BATCH_SIZE, NETWORKS, PERIOD, WAYS, Way, keep_freed_memory, measured, table_of
from swatcost.reference.this_machine import machine

RESULTS = Path(__file__).parent / "STRUCTURED_STEPS.md"
_NETWORKS = ("cifar_resnet18", "cifar_vgg16")
_WAYS = (
    WAYS[0], *(Way("sparse", sparsity, method) for sparsity in (0.9, 0.95) for method in ("swat", "swat-structured")),
)  # fmt: skip


def main() -> None:
    keep_freed_memory()
    steps = [measured(name, NETWORKS[name], _WAYS) for name in _NETWORKS]
    disturbed = max(each.others for each in steps)
    text = [
        "# Training steps of structured SWAT",
        f"Written by `python -m benchmarks.structured_steps`. {machine()}, {torch.get_num_threads()} threads, torch "
        f"{torch.__version__}.",
        f"Steps of {BATCH_SIZE} samples in fp32 as in SPARSE_KERNELS.md: everything is included, and a step that finds "
        f"all thresholds comes once in {PERIOD}. Structured SWAT keeps or drops whole kernels W[f, c] of weights; its "
        "activations stay unstructured. The ways take turns in one run. Other programs had at most "
        f"{100 * disturbed:.0f} % of the processors.",
        table_of(steps, _WAYS),
    ]
    RESULTS.write_text("\n\n".join(text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
