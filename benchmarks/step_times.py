"""Predicted times of dense training steps beside measured ones; --write puts them into benchmarks/STEP_TIMES.md.

Run as `python -m benchmarks.step_times` on the machine that a profile is of (`--device`, a name or a file), while
nothing else runs. `--measured FILE` keeps the measured times, and takes those that it has, so that predictions can be
made anew.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional

import swatcost
from benchmarks.cases import markdown
from benchmarks.step_networks import NETWORKS, Timed
from swatcost.devices import load_device
from swatcost.network import Network

RESULTS = Path(__file__).parent / "STEP_TIMES.md"
_WARM_UP, _FEWEST, _MOST = 2, 5, 30  # steps
_ENOUGH_SECONDS = 1.0  # of steps together, from the fewest on
_PRODUCTS = 15
_PATIENCE = 3  # measurements of a step while the machine is slower than it was for its profile
_AS_FAST = 0.95  # of the profile's rate of products [-]
_OTHER_PROFILE = "xeon2"  # which knows two rates of a similar machine


@dataclass(frozen=True)
class Step:
    """The times of a step [s]: the median of several, and the quarters below and above it.

    `macs_per_second` is what a product of 1024 × 1024 matrices reached just before and after [MAC/s]: a machine that
    others share is not always as fast as when its profile was measured.
    """

    network: str
    batch_size: int
    seconds: float
    lower: float
    upper: float
    macs_per_second: float


def measured(name: str, timed: Timed, batch_size: int) -> Step:
    """A step of SGD with momentum: forward, cross-entropy, backward, update."""
    torch.manual_seed(0)
    module, inputs = timed.build().train(), timed.inputs(batch_size)
    with torch.no_grad():
        scores = module(inputs)
    labels = torch.randint(0, scores.shape[-1], scores.shape[:-1]).flatten()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(module(inputs).flatten(0, -2), labels).backward()
        optimizer.step()

    before = _macs_per_second()
    lower, middle, upper = statistics.quantiles(_times(step), n=4)
    return Step(name, batch_size, middle, lower, upper, (before + _macs_per_second()) / 2)


def _macs_per_second() -> float:
    left, right = (torch.randn(1024, 1024) for _ in range(2))
    times = []
    for _ in range(_PRODUCTS):
        began = time.perf_counter()
        torch.mm(left, right)
        times.append(time.perf_counter() - began)
    return float(1024**3 / statistics.median(times))


def _times(step: Callable[[], None]) -> list[float]:
    times: list[float] = []
    for _ in range(_WARM_UP):
        step()
    while len(times) < _FEWEST or (sum(times) < _ENOUGH_SECONDS and len(times) < _MOST):
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
    return times


def traced(timed: Timed) -> Network:
    """The network's trace, as `swatcost.load` gives it for those of the zoo."""
    return swatcost.trace(timed.build(), example_inputs=timed.inputs(2), loss="cross-entropy")


def _fastest(name: str, batch_size: int, peak: float) -> Step:
    """A step while the machine is as fast as in its profile; otherwise, of some, the one while it was fastest."""
    tried: list[Step] = []
    while len(tried) < _PATIENCE and all(each.macs_per_second < _AS_FAST * peak for each in tried):
        tried.append(measured(name, NETWORKS[name], batch_size))
    return max(tried, key=lambda each: each.macs_per_second)


def _steps(kept: Path | None, names: Sequence[str], peak: float) -> Iterator[Step]:
    """The measured steps: those that were kept, and all others."""
    known = [Step(**each) for each in json.loads(kept.read_text())] if kept and kept.exists() else []
    for name in names:
        for batch_size in NETWORKS[name].batches:
            found = [each for each in known if (each.network, each.batch_size) == (name, batch_size)]
            if not found:
                found = [_fastest(name, batch_size, peak)]
                known += found
                if kept:
                    kept.write_text(json.dumps([vars(each) for each in known], indent=1) + "\n")
                print(f"{name}, batch {batch_size}: {found[0].seconds:.4f} s", flush=True)
            yield found[0]


def report(device: str, steps: Sequence[Step]) -> str:
    """The report as Markdown."""
    networks = {name: traced(NETWORKS[name]) for name in dict.fromkeys(each.network for each in steps)}
    of = swatcost.estimate(networks[steps[0].network], device=device).device
    errors: dict[str, list[float]] = {device: []}
    errors.setdefault(_OTHER_PROFILE, [])
    header = ["", "batch", "machine's speed", "measured", "quartiles", f"predicted, {of.name}", "error"]
    rows = [[*header, f"error, {_OTHER_PROFILE}"]]
    peak = of.peaks.macs_per_second if of.peaks else math.nan
    for step in steps:
        cells = []
        for profile, own in errors.items():
            found = swatcost.estimate(
                networks[step.network], device=profile, batch_size=step.batch_size, optimizer="momentum"
            )
            own.append(found.dense_step.seconds / step.seconds - 1)
            cells += [_milliseconds(found.dense_step.seconds), f"{100 * own[-1]:+.0f} %"]
        quartiles = f"{_milliseconds(step.lower)} to {_milliseconds(step.upper)}"
        speed = f"{step.macs_per_second / peak:.2f}"
        times = [step.network, str(step.batch_size), speed, _milliseconds(step.seconds), quartiles]
        rows.append([*times, *cells[:2], cells[-1]])
    summary = [["error, absolute", "median", "worst"]]
    for profile, own in errors.items():
        sizes = [abs(each) for each in own]
        name = of.name if profile == device else profile
        summary.append([name, f"{100 * statistics.median(sizes):.0f} %", f"{100 * max(sizes):.0f} %"])
    blocks = [
        "# Times of dense training steps",
        f"Written by `python -m benchmarks.step_times --write` on {of.title}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads: steps of SGD with momentum in fp32, medians. "
        f'Predicted by `swatcost.estimate(…, device="{of.name}").dense_step` from single operations, none of them '
        f"measured in these networks, and by the profile {_OTHER_PROFILE}, two rates of another two-core machine.",
        "The machine's speed is the rate of a product of 1024 × 1024 matrices just before and after the steps, over "
        f"the profile's. Below {_AS_FAST}, up to {_PATIENCE} measurements are made, and those on the "
        "fastest machine count: others share it.",
        markdown(summary),
        markdown(rows),
    ]
    return "\n\n".join(blocks) + "\n"


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:,.1f} ms" if seconds < 0.1 else f"{1000 * seconds:,.0f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="epyc2", help="profile of this machine")
    parser.add_argument("--measured", type=Path, help="JSON file that keeps measured times")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name} instead of printing")
    parser.add_argument("networks", nargs="*", default=list(NETWORKS), help="of these, all by default")
    given = parser.parse_args()
    peaks = load_device(given.device).peaks
    peak = peaks.macs_per_second if peaks else 0.0
    text = report(given.device, list(_steps(given.measured, given.networks, peak)))
    if given.write:
        RESULTS.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
