"""Times and memory, compared with other counters. Writes benchmarks/RESULTS.md.

Run as `make bench`. Every ratio compares two medians of one run on one machine; times alone say little.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "RESULTS.md"

NETWORKS = {"resnet50": 5, "densenet121": 5, "vit_b_16": 5, "convnext_base": 5, "Llama 70B": 3}
"""Networks that are traced in a process, and the repetitions."""

_COMMAND = [str(Path(sys.executable).parent / "swatcost"), "resnet50", "--weights", "0.8", "--acts", "0.8"]
_COMMAND += ["--period", "1000"]

_ONE_SHOT = """
import sys; sys.path.insert(0, {root!r})
import torch
from swatcost_models import ZOO
from benchmarks.peers import PEERS, quiet
peer = next(each for each in PEERS if each.name == {name!r})
device = "meta" if peer.on_meta else "cpu"
with torch.device(device):
    module, x = ZOO["resnet50"].build(), torch.zeros(1, 3, 224, 224)
with quiet():
    macs = peer.count(module, (x,))
print(macs)
"""


def whole_process(commands: dict[str, Sequence[str]], rounds: int = 5) -> dict[str, float]:
    """The median time [s] of each command, taking turns."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    quietly: dict[str, Any] = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    run = partial(subprocess.run, env=environment, **quietly)
    return in_turns({name: partial(run, command) for name, command in commands.items()}, rounds)


def in_turns(functions: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """The median time [s] of each function, taking turns after a first call of each."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(rounds + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(each) for name, each in times.items()}


def built(name: str) -> tuple[Any, Any]:
    """A network and its input on the meta device: 11 images, or 2048 tokens."""
    import torch
    from swatcost_models import ZOO

    from benchmarks.networks import TOKENS, WIDTH, Llama70B

    with torch.device("meta"):
        if name == "Llama 70B":
            return Llama70B(), torch.empty(1, TOKENS, WIDTH)
        return ZOO[name].build(), torch.empty(11, *ZOO[name].input_shape)


def tracing(name: str) -> dict[str, float]:
    """Time [s] to trace a built module, and of torch's counter in the same grad mode."""
    import swatcost
    from benchmarks.peers import PEERS, torch_backward

    module, x = built(name)
    counter = PEERS[0].count
    return in_turns(
        {
            "swatcost": lambda: swatcost.trace(module, x),
            "forward": lambda: counter(module, (x,)),
            "both": lambda: torch_backward(module, (x,)),
        },
        NETWORKS[name],
    )


def memory(name: str, tool: str) -> float:
    """The peak resident set [MiB] of a process that counts the network once."""
    import swatcost
    from benchmarks.peers import PEERS

    module, x = built(name)
    if tool == "swatcost":
        swatcost.trace(module, x)
    else:
        PEERS[0].count(module, (x,))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def other_peers(name: str) -> dict[str, Any]:
    """Times [s] of the other peers for one image, after a first call; None if they fail."""
    import torch

    from benchmarks.peers import PEERS, quiet

    found: dict[str, Any] = {}
    for peer in PEERS[1:]:
        if peer.missing():
            continue
        module, x = built(name)
        if not peer.on_meta:
            module, x = module.to_empty(device="cpu"), torch.zeros(1, *x.shape[1:])
        try:
            with quiet():
                found[peer.name] = in_turns({"it": partial(peer.count, module, (x,))}, 1)["it"]
        except Exception:
            found[peer.name] = None
    return found


def summaries() -> dict[str, float] | None:
    """Seconds of a summary of a built ResNet-50, made and printed, and of torchinfo's; None without torchinfo.

    torchinfo runs the forward pass, swatcost forward and backward.
    """
    import swatcost
    from benchmarks.peers import PEERS, quiet

    if next(each for each in PEERS if each.name == "torchinfo").missing():
        return None
    from torchinfo import summary

    module, x = built("resnet50")
    with quiet():
        return in_turns(
            {
                "swatcost": lambda: str(swatcost.summary(module, example_inputs=x, depth=3)),
                "torchinfo": lambda: str(
                    summary(module, input_data=x, depth=3, verbose=0, device="meta", mode="train")
                ),
            },
            7,
        )


def estimates() -> dict[str, float]:
    """Estimates per second from a trace of ResNet-50."""
    import numpy

    import swatcost

    random = numpy.random.default_rng(0)
    network, count = swatcost.load("resnet50"), 100_000
    pairs: dict[str, Any] = {
        "weights": random.uniform(0, 0.97, count),
        "acts": random.uniform(0, 0.97, count),
        "period": random.integers(1, 2000, count),
        "paired": True,
    }
    grid: dict[str, Any] = {
        "weights": numpy.linspace(0, 0.95, 50),
        "acts": numpy.linspace(0, 0.95, 20),
        "period": range(1, 51),
        "distribution": ["uniform", "erk"],
    }
    times = in_turns(
        {
            "100,000 random settings, uniform": lambda: swatcost.sweep(network, **pairs),
            "100,000 random settings, ERK": lambda: swatcost.sweep(network, **pairs, distribution="erk"),
            "a grid of 50 × 20 × 50 × 2 distributions": lambda: swatcost.sweep(network, **grid),
            "one by one": lambda: [swatcost.estimate(network, weights=0.8, acts=0.8) for _ in range(100)],
        },
        3,
    )
    return {name: (100 if name == "one by one" else count) / seconds for name, seconds in times.items()}


def elsewhere(call: str, module: str = "bench") -> Any:
    """The result of a call in a separate process."""
    code = f"import json, sys; sys.path.insert(0, {str(ROOT)!r}); from benchmarks import {module}; "
    code += f"print(json.dumps({module}.{call}))"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{call} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def report() -> str:
    """The whole report as Markdown."""
    import torch

    from benchmarks import planning, simulation
    from benchmarks.cases import markdown
    from benchmarks.peers import PEERS

    missing = {peer.name: why for peer in PEERS if (why := peer.missing())}
    peers = [peer for peer in PEERS if peer.name not in missing]
    blocks = [
        "# Benchmarks",
        f"Written by `make bench` on {platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, torch {torch.__version__}. Medians of one run in which all took turns; compare "
        "ratios, not times.",
    ]
    blocks += [f"Left out: {name} ({why})." for name, why in missing.items()]

    say("whole process")
    commands: dict[str, Sequence[str]] = {
        "`swatcost resnet50 --weights 0.8 --acts 0.8 --period 1000`": _COMMAND,
        '`python -c "import click, numpy"`': [sys.executable, "-c", "import click, numpy"],
        '`python -c "import torch"`': [sys.executable, "-c", "import torch"],
    }
    commands |= {
        f"{peer.name}, one shot": [sys.executable, "-c", _ONE_SHOT.format(root=str(ROOT), name=peer.name)]
        for peer in peers
    }
    seconds = whole_process(commands)
    own = next(iter(seconds.values()))
    blocks += [
        "## The whole process, ResNet-50",
        markdown([["", "time", "swatcost's time"]] + [
            [name, f"{each:.2f} s", f"1/{each / own:.1f} of it" if each > own else f"{own / each:.2f}× as long"]
            for name, each in list(seconds.items())
        ]),
    ]  # fmt: skip

    rows = [["", "swatcost, forward and backward", "FlopCounterMode, forward", "ratio", "forward + backward", "ratio"]]
    sizes = [["", "swatcost", "FlopCounterMode"]]
    others = [["", *(peer.name for peer in peers[1:])]]
    for name in NETWORKS:
        say(name)
        found = elsewhere(f"tracing({name!r})")
        own, forward, both = found["swatcost"], found["forward"], found["both"]
        own_ms, forward_ms, both_ms = (f"{1000 * each:.0f} ms" for each in (own, forward, both))
        rows.append([name, own_ms, forward_ms, f"{own / forward:.2f}", both_ms, f"{own / both:.2f}"])
        sizes.append([name, *(f"{elsewhere(f'memory({name!r}, {tool!r})'):.0f} MiB" for tool in ("swatcost", "torch"))])
        if name != "Llama 70B":
            times = elsewhere(f"other_peers({name!r})")
            others.append([name, *("fails" if each is None else f"{1000 * each:.0f} ms" for each in times.values())])
    blocks += [
        "## Tracing a built module, in the process",
        "On the meta device and with gradients enabled; 11 images, or 2048 tokens through 80 layers of width 8192.",
        markdown(rows),
        "Peak resident set of a process that imports torch, builds the network and counts it once:",
        markdown(sizes),
        "The other counters on one image, forward only, on the CPU (torchinfo on the meta device):",
        markdown(others),
    ]

    say("summaries")
    if found := elsewhere("summaries()"):
        own, other = found["swatcost"], found["torchinfo"]
        blocks += [
            "## A summary of a built ResNet-50, in the process",
            "Made and printed to depth 3, on the meta device, 11 images; torchinfo runs the forward pass, swatcost "
            "forward and backward.",
            markdown([["", "swatcost", "torchinfo", "ratio"],
                      ["resnet50", f"{1000 * own:.0f} ms", f"{1000 * other:.0f} ms", f"{own / other:.2f}"]]),
        ]  # fmt: skip

    say("estimates")
    found = elsewhere("estimates()")
    blocks += [
        "## Estimates of ResNet-50 per second, from a trace",
        markdown([["", "per second"]] + [[name, f"{each:,.0f}"] for name, each in found.items()]),
    ]

    say("planning")
    blocks += planning.section(partial(elsewhere, module="planning"))

    say("simulation")
    blocks += simulation.section(partial(elsewhere, module="simulation"))
    return "\n\n".join(blocks) + "\n"


if __name__ == "__main__":
    RESULTS.write_text(report(), encoding="utf-8")
    say(f"wrote {RESULTS.relative_to(ROOT)}")
