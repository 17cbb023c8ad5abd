"""`swatcost calibrate`: measures this machine and writes a profile."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from swatcost.cli.completion import models, offering
from swatcost.cli.options import printing, shown
from swatcost.cli.output import Display
from swatcost.cli.progress import LongWork
from swatcost.cli.run import OUTCOME
from swatcost.common.errors import SwatcostError
from swatcost.common.files import write_atomically
from swatcost.devices import to_toml
from swatcost.report.numbers import seconds

if TYPE_CHECKING:
    from swatcost.reference.calibration import Standing

_TICKS = 100  # of the progress bar, per expected second


@click.command("calibrate")
@shown("--name", "Name of the profile.", "this-machine", "NAME")
@click.option(
    "--network", "networks", shell_complete=offering(models, files=True), multiple=True, metavar="MODEL",
    help="Network whose dense step is also measured; repeatable. Two or more give the fitted rates.",
)  # fmt: skip
@click.option(
    "--unseen", shell_complete=offering(models, files=True), multiple=True, metavar="MODEL",
    help="Network to predict, with nothing fitted to it; repeatable.  [default: cifar_vgg16]",
)  # fmt: skip
@shown("--batch-size", "Samples in a step.", 8, "N")
@click.option("--on", type=click.Choice(["cpu", "cuda"]), default="cpu", help="What to measure.  [default: cpu]")
@click.option(
    "--precision", "precisions", type=click.Choice(["fp32", "tf32", "bf16", "fp16"]), multiple=True,
    help="Precision of dense operations besides fp32; repeatable. A CPU has bf16.",
)  # fmt: skip
@click.option("--instructions/--no-instructions", default=True, help="Count numpy.partition's instructions (Table 9).")
@click.option(
    "--record", type=click.Path(path_type=Path), metavar="FILE",
    help="Append measurements to FILE (.jsonl) as they finish, and resume from it.",
)  # fmt: skip
@click.option(
    "--output", "profile", type=click.Path(path_type=Path), metavar="FILE", help="Write the profile there (.toml)."
)
@OUTCOME
@printing
def command(
    networks: tuple[str, ...],
    unseen: tuple[str, ...],
    instructions: bool,
    record: Path | None,
    profile: Path | None,
    display: Display,
    **given: Any,
) -> None:
    """Measures this machine and writes a profile for --device.

    Measures dense operations pass by pass, memory-bound operations, torch's sparse kernels beside its dense ones, and
    the cost of Top-K by algorithm and array size, and compares the profile's predictions with measured times. Takes
    several minutes on a machine that must be idle otherwise; with --record, a later call continues an interrupted one.

    Example: swatcost calibrate --record mine.jsonl --output mine.toml; swatcost resnet50 --device mine.toml
    """
    if profile is not None and profile.suffix != ".toml":
        raise SwatcostError(f"{profile}: a profile is a .toml file, name it so")
    from swatcost.reference import calibration

    with LongWork("measuring") as work:

        def progress(at: "Standing") -> None:
            sentence = _announced(at, given["on"], record, profile)
            work.reached(round(_TICKS * at.done_seconds), at.key, of=round(_TICKS * at.of_seconds), sentence=sentence)

        found = calibration.calibrate(
            networks=networks, unseen=unseen or ("cifar_vgg16",), count_instructions=instructions, record=record,
            progress=progress, **given,
        )  # fmt: skip
    if profile is not None:
        write_atomically(profile, to_toml(found.device))
    display.result(found)


def _announced(at: "Standing", on: str, record: Path | None, profile: Path | None) -> str:
    """What is about to be measured, for how long, and where it goes."""
    already = f" ({at.done} more in {record})" if at.done else ""
    files = [f"record to {record}"] if record else []
    files.append(f"profile to {profile}" if profile else "without --output FILE no profile is written")
    left = seconds(at.of_seconds - at.done_seconds)
    return f"{at.of - at.done} measurements{already} on {on}, about {left}; {'; '.join(files)}"
