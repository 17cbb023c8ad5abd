"""Options that were given twice: click takes the last of them and says nothing."""

from __future__ import annotations

from copy import copy

import click

from swatcost.cli.parameter_types import Several
from swatcost.common.errors import SwatcostError


def refuse_repeated(command: click.Command, parent: click.Context, args: list[str]) -> None:
    """Raises SwatcostError if an option that takes one value is given more than once.

    The command line is parsed by a copy of the command in which those options collect their values.
    """
    single = [each for each in command.params if isinstance(each, click.Option) and _takes_one_value(each)]
    collecting = copy(command)
    collecting.params = [_collecting(each) if each in single else each for each in command.params]
    parser = collecting.make_parser(click.Context(collecting, info_name=command.name, parent=parent))
    found, _, _ = parser.parse_args(args=[*args])
    for option in single:
        values = found.get(str(option.name), [])
        if len(values) > 1:
            raise SwatcostError(f"{max(option.opts, key=len)} is given as {' and as '.join(values)}: {_remedy(option)}")


def _takes_one_value(option: click.Option) -> bool:
    return not (option.multiple or option.is_flag or option.count) and option.nargs == 1


def _collecting(option: click.Parameter) -> click.Parameter:
    option = copy(option)
    option.multiple = True
    return option


def _remedy(option: click.Option) -> str:
    return "give it once, with commas between the values" if isinstance(option.type, Several) else "give it once"
