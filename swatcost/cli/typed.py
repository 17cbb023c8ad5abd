"""What was typed on the command line, and words on what of it makes no difference."""

import click

from swatcost.cli.progress import say


def typed() -> dict[str, str]:
    """The parameters of the running command that were given on its command line, and their options, by name."""
    context, on_command_line = click.get_current_context(), click.core.ParameterSource.COMMANDLINE
    return {
        str(each.name): max((context.params[each.name] is False and each.secondary_opts) or each.opts, key=len)
        for each in context.command.params
        if each.name in context.params and context.get_parameter_source(each.name) is on_command_line
    }


def no_difference(name: str, reason: str) -> None:
    """Says on standard error that a parameter makes no difference, if it was typed."""
    if option := typed().get(name):
        say(f"{option} has no effect here: {reason}")
