"""`swatcost export`: a network's layers as files for another simulator."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from swatcost.cli.completion import offering
from swatcost.cli.options import network_options, setting_options
from swatcost.cli.progress import say, to_terminal
from swatcost.cli.typed import no_difference, typed
from swatcost.common.errors import SwatcostError
from swatcost.exporting import EXPORTING, EXPORTS, Export, export
from swatcost.network import Network
from swatcost.network.passes import PASSES, Pass
from swatcost.report.numbers import scaled
from swatcost.setting import OPTIONS


def _same(
    found: Export, network: Network, to: str, passes: Sequence[Pass], bits: int | None, settings: Mapping[str, Any]
) -> bool:
    """Whether other settings give the same files."""
    try:
        return export(network, to, passes=passes, bits=bits, **settings).files == found.files
    except SwatcostError:
        return False


@click.command("export")
@network_options
@click.option(
    "--to", required=True, metavar="FORMAT", shell_complete=offering(EXPORTS.names),
    help="scalesim, zigzag, timeloop, maestro or csv.",
)  # fmt: skip
@setting_options(EXPORTING)
@click.option(
    "--passes", type=click.Choice(["forward", "training"]), default="forward", show_default=True,
    help="training adds grad_input and grad_weight.",
)  # fmt: skip
@click.option("--bits", type=click.IntRange(1, 64), help="Bits per value.  [default: the network's own]")
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="PATH",
    help="File or, for formats of several files, new folder.  [default: standard output, or folder MODEL-FORMAT]",
)  # fmt: skip
def command(network: Network, to: str, passes: str, bits: int | None, output: Path | None, **settings: Any) -> None:
    """Writes a network's layers as files for another simulator.

    Example: swatcost export resnet50 --weights 0.8 --to scalesim --output resnet50-scalesim
    """
    chosen = PASSES if passes == "training" else PASSES[:1]
    found = export(network, to, passes=chosen, bits=bits, **settings)
    no_difference("checkpoint", "what is recomputed is not exported")
    for name in (each for each in OPTIONS if each in typed()):
        if settings[name] != OPTIONS[name].default and _same(found, network, to, chosen, bits, settings | {name: None}):
            no_difference(name, "the files are the same without it")
    if found.format.folder and output is None:
        output = Path(f"{network.name}-{found.format.name}".replace("/", "_"))
    if output is None:
        ((name, text),) = found.files.items()
        if to_terminal():
            raise SwatcostError(f"{name} is {len(text):,} characters: give --output FILE, or redirect the output")
        click.echo(text, nl=False)
    else:
        found.save(output)
    written = f" in {output}" if output else ""
    macs = sum(each.macs for each in found.workloads)
    say(
        f"{len(found.workloads)} layers and passes, {scaled(macs, 'MAC')}, batch "
        f"{found.batch_size}, {len(found.files)} file{'s' * (len(found.files) > 1)}{written}"
    )
    for note in found.notes:
        say(note)
