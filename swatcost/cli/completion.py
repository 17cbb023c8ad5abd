"""Shell completion: names, and files where an option takes files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click

from swatcost.setting import Option

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Complete = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]
SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_SWATCOST_COMPLETE"  # click's variable for this program name


def offering(
    names: Callable[[], Iterable[str]],
    *,
    files: bool = False,
    parameters: Callable[[str], Iterable[str]] = lambda begun: (),
) -> Complete:
    """Completes a name (the last one after commas) or its parameters or, if allowed, a file.

    parameters gives what the whole text can become that way.
    """

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        before, comma, begun = incomplete.rpartition(",")
        found = [CompletionItem(before + comma + each) for each in names() if each.startswith(begun)]
        found += [CompletionItem(each) for each in parameters(incomplete)]
        # Bash offers files only if no name fits, and ignores names listed before this item.
        return [CompletionItem(incomplete, type="file"), *found] if files else found

    return complete


def completing(option: Option) -> Complete | None:
    """The completion of a setting's values: its names, and its default, which a command may have of its own."""
    if option.names is None and not option.files:
        return None
    names, own = option.names or list, [option.default] if isinstance(option.default, str) else []

    def offered() -> Iterable[str]:
        return dict.fromkeys([*names(), *own])

    return offering(offered, files=option.files, parameters=option.parameters)


def models() -> list[str]:
    """The names of networks: the zoo's, and those of other packages."""
    from importlib.metadata import entry_points

    from swatcost_models import ZOO

    from swatcost.loading import ENTRY_POINTS

    return [*ZOO, *(each.name for each in entry_points(group=ENTRY_POINTS))]


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Prints a script for shell completion of models, options and names.

    \b
    bash, in ~/.bashrc:                     eval "$(swatcost completion bash)"
    zsh, in ~/.zshrc after compinit:        eval "$(swatcost completion zsh)"
    fish, in ~/.config/fish/config.fish:    swatcost completion fish | source
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(context.find_root().command, {}, "swatcost", _VARIABLE).source(), nl=False)
