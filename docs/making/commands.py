"""The command-line reference, generated from the objects that parse it."""

from __future__ import annotations

import inspect
import re

import click

from docs.making.markdown import paragraphs, table
from swatcost.cli import COMMANDS, cli, command_named


def pages() -> dict[str, str]:
    """One section per command."""
    return {"generated/commands.md": paragraphs(*(_section(name, command_named(name)) for name in COMMANDS))}


def _section(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=name, parent=click.Context(cli, info_name="swatcost"))
    usage = " ".join(command.collect_usage_pieces(context))
    text, example = _help(command)
    return paragraphs(
        f"## {name}",
        f"```text\nswatcost {name} {usage}\n```",
        f"`estimate` can be omitted: `swatcost {usage}`." if name == "estimate" else "",
        text,
        example,
        _options(command, context),
    )


def _help(command: click.Command) -> tuple[str, str]:
    """The help text as paragraphs, and its examples as code."""
    paragraphs_of_it = inspect.cleandoc(command.help or "").split("\n\n")
    if command.epilog:
        paragraphs_of_it += inspect.cleandoc(command.epilog).split("\n\n")
    texts, examples = [], []
    for each in paragraphs_of_it:
        as_written = each.startswith("\b")
        each = each.replace("\b\n", "").replace("\b", "")
        if found := re.match(r"Examples?:?\s*", each):
            lines = " ".join(each[found.end() :].split())
            examples += [
                f"swatcost{line}".rstrip() for line in re.split(r"(?:^|;?\s)swatcost(?=\s)", lines) if line.strip()
            ]
        elif as_written:
            texts.append(f"```text\n{each}\n```")
        else:
            texts.append(" ".join(each.split()).replace("<", "&lt;"))
    return "\n\n".join(texts), "```sh\n" + "\n".join(examples) + "\n```" if examples else ""


def _options(command: click.Command, context: click.Context) -> str:
    rows = []
    for each in command.get_params(context):
        if isinstance(each, click.Option) and not each.hidden and (record := each.get_help_record(context)):
            names, text = record
            rows.append([f"`{names}`", re.sub(r"([<*_])", r"\\\1", text)])
    return table(["option", ""], rows, words=2)
