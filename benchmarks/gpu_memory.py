"""Peak memory of a real training step on a GPU, compared with the model's. Writes benchmarks/GPU_MEMORY.md.

Run as `python -m benchmarks.gpu_memory` where torch sees a GPU.
"""

from __future__ import annotations

from pathlib import Path

NETWORKS = ("resnet18", "resnet50", "densenet121", "vit_b_16", "convnext_base")
BATCHES = (8, 32)
_STEPS = 3  # the last is measured: by then the optimizer state and library workspaces are allocated
RESULTS = Path(__file__).parent / "GPU_MEMORY.md"


def measured_peak(name: str, batch_size: int) -> int:
    """The peak of torch's allocator [bytes] in a step of SGD with momentum, above what was allocated before."""
    import torch
    from swatcost_models import ZOO

    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    module = ZOO[name].build().cuda()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9)
    images = torch.randn(batch_size, *ZOO[name].input_shape, device="cuda")
    labels = torch.zeros(batch_size, dtype=torch.long, device="cuda")
    for _ in range(_STEPS):
        torch.cuda.reset_peak_memory_stats()
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(module(images), labels).backward()
        optimizer.step()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def report() -> str:
    """The report as Markdown."""
    import torch

    from benchmarks.cases import markdown
    from swatcost.planning import memory_of

    rows = [["", "batch", "model [bytes]", "GPU [bytes]", "GPU / model"]]
    for name in NETWORKS:
        for batch_size in BATCHES:
            model = memory_of(name, batch_size=batch_size).memory.dense.peak.bytes
            peak = measured_peak(name, batch_size)
            rows.append([name, str(batch_size), f"{model:,}", f"{peak:,}", f"{peak / model:.4f}"])
    where = f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    blocks = [
        "# Peak memory of a training step on a GPU",
        f"Written by `python -m benchmarks.gpu_memory` on {where}: a step of SGD with momentum in fp32, "
        "`torch.cuda.max_memory_allocated` less what was allocated before. The model is the bytes of the step's "
        "tensors, without library workspaces and the allocator's rounding.",
        markdown(rows),
    ]
    return "\n\n".join(blocks) + "\n"


if __name__ == "__main__":
    RESULTS.write_text(report(), encoding="utf-8")
