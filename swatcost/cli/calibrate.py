"""`swatcost calibrate`: measures this machine and writes a profile."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from swatcost.cli.completion import models, offering
from swatcost.cli.options import printing, shown
from swatcost.cli.output import Display
from swatcost.cli.progress import progress_bar, say
from swatcost.cli.run import OUTCOME
from swatcost.common.errors import SwatcostError
from swatcost.common.files import write_atomically
from swatcost.devices import to_toml


@click.command("calibrate")
@shown("--name", "Name of the profile.", "this-machine", "NAME")
@click.option(
    "--network", "networks", shell_complete=offering(models, files=True), multiple=True, metavar="MODEL",
    help="Network whose dense step is measured; repeatable.  [default: cifar_resnet18, cifar_densenet121, "
    "cifar_wrn_16_8]",
)  # fmt: skip
@click.option(
    "--unseen", shell_complete=offering(models, files=True), multiple=True, metavar="MODEL",
    help="Network to predict, with nothing fitted to it; repeatable.  [default: cifar_vgg16]",
)  # fmt: skip
@shown("--batch-size", "Samples in a step.", 8, "N")
@click.option("--on", type=click.Choice(["cpu", "cuda"]), default="cpu", help="What to measure.  [default: cpu]")
@click.option("--instructions/--no-instructions", default=True, help="Count numpy.partition's instructions (Table 9).")
@click.option(
    "--output", "profile", type=click.Path(path_type=Path), metavar="FILE", help="Write the profile there (.toml)."
)
@OUTCOME
@printing
def command(
    networks: tuple[str, ...],
    unseen: tuple[str, ...],
    instructions: bool,
    profile: Path | None,
    display: Display,
    **given: Any,
) -> None:
    """Measures this machine and writes a profile for --device.

    Measures dense steps, rates, and the cost of Top-K by algorithm and array size, and compares the profile's
    predictions with measured times, also for a network that it was not fitted to. Takes a minute or two on an
    otherwise idle machine.

    Example: swatcost calibrate --output mine.toml; swatcost resnet50 --weights 0.8 --acts 0.8 --device mine.toml
    """
    if profile is not None and profile.suffix != ".toml":
        raise SwatcostError(f"{profile}: a profile is a .toml file, name it so")
    from swatcost.reference import calibration

    chosen = networks or ("cifar_resnet18", "cifar_densenet121", "cifar_wrn_16_8")
    others = tuple(each for each in unseen or ("cifar_vgg16",) if each not in chosen)
    length = calibration.stages(chosen, others, instructions, given["on"])
    bar: Any = None
    with ExitStack() as stack:

        def progress(stage: str) -> None:
            nonlocal bar
            if bar is None:
                where = f"profile to {profile}" if profile else "without --output FILE no profile is written"
                say(f"{length} measurements on {given['on']}, a minute or two; {where}")
                bar = stack.enter_context(progress_bar(length, "measuring"))
            bar.update(1, stage)

        found = calibration.calibrate(
            networks=chosen, unseen=others, count_instructions=instructions, progress=progress, **given
        )
    if profile is not None:
        write_atomically(profile, to_toml(found.device))
    display.result(found)
