"""What a shell offers when Tab is pressed: names that can be chosen, and files where files are taken."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Complete = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]
SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_SWATCOST_COMPLETE"  # what click makes of the program's name


def offering(names: Callable[[], Iterable[str]], *, files: bool = False) -> Complete:
    """Completes a name, the last one after commas, or else a file, where one is taken."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        before, comma, begun = incomplete.rpartition(",")
        found = [CompletionItem(before + comma + each) for each in names() if each.startswith(begun)]
        # Bash offers files where it is told to and no name fits; it forgets the names before.
        return [CompletionItem(incomplete, type="file"), *found] if files else found

    return complete


def _models() -> list[str]:
    from importlib.metadata import entry_points

    from swatcost_models import ZOO

    from swatcost.loading.load import ENTRY_POINTS

    return [*ZOO, *(each.name for each in entry_points(group=ENTRY_POINTS))]


def _methods() -> list[str]:
    from swatcost.methods import METHODS

    return METHODS.names()


def _distributions() -> list[str]:
    from swatcost.distributions import DISTRIBUTIONS

    return DISTRIBUTIONS.names()


def _conventions() -> list[str]:
    from swatcost.counting.conventions import CONVENTIONS

    return CONVENTIONS.names()


def _architectures() -> list[str]:
    from swatcost.accelerator.architecture import architecture_names

    return architecture_names()


def _devices() -> list[str]:
    from swatcost.devices import device_names

    return [*device_names(), *_architectures()]


def _exports() -> list[str]:
    from swatcost.exporting import EXPORTS

    return EXPORTS.names()


def _tables() -> list[str]:
    from swatcost.published import cells

    every = [*dict.fromkeys(each.table for each in cells()), "all"]
    return [each for each in every if " " not in each]  # shells differ in how they take a word with a space


def _optimizers() -> list[str]:
    from swatcost.memory.dense_step import OPTIMIZERS

    return OPTIMIZERS.names()


def _precisions() -> list[str]:
    from swatcost.memory.dense_step import PRECISIONS

    return PRECISIONS.names()


def _recipes() -> list[str]:
    from swatcost.planning.recipes import RECIPES

    return RECIPES.names()


def _datasets() -> list[str]:
    from swatcost.planning.recipes import DATASETS

    return DATASETS.names()


OFFERED: dict[str, Complete] = {
    "model": offering(_models, files=True),
    "table": offering(_tables),
    "--method": offering(_methods),
    "--distribution": offering(_distributions),
    "--convention": offering(_conventions),
    "--device": offering(_devices, files=True),
    "--arch": offering(_architectures, files=True),
    "--to": offering(_exports),
    "--optimizer": offering(_optimizers),
    "--precision": offering(_precisions),
    "--recipe": offering(_recipes),
    "--dataset": offering(_datasets),
    "--fit": offering(_devices),
    "--network": offering(_models, files=True),
    "--unseen": offering(_models, files=True),
    "--from": offering(list, files=True),
    "--masks": offering(lambda: ("gaussian", "random"), files=True),
    "--data": offering(lambda: ("digits", "synthetic"), files=True),
    "--default-act-sparsity": offering(list, files=True),
}
"""What completes an argument or an option, by its name."""


MODEL = click.argument("model", shell_complete=OFFERED["model"])
"""The argument MODEL, of one network."""

MODELS = click.argument("models", nargs=-1, required=True, metavar="MODEL…", shell_complete=OFFERED["model"])
"""The same of several."""


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Prints what makes a shell complete models, options and names when Tab is pressed.

    \b
    bash, in ~/.bashrc:                     eval "$(swatcost completion bash)"
    zsh, in ~/.zshrc after compinit:        eval "$(swatcost completion zsh)"
    fish, in ~/.config/fish/config.fish:    swatcost completion fish | source
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(context.find_root().command, {}, "swatcost", _VARIABLE).source(), nl=False)
