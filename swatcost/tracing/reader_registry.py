"""The readers of operations, by the operation's name; the files of each family register theirs here."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from swatcost.tracing.operands import Call, Reading

Reader = Callable[[Call], Iterable[Reading]]
READERS: dict[str, Reader] = {}


class NotReadError(Exception):
    """Raised by a reader for a call whose work it cannot tell; the operation is then listed as uncounted."""


def reads(*operations: str) -> Callable[[Reader], Reader]:
    """Registers a reader for operations of torch."""

    def register(reader: Reader) -> Reader:
        for operation in operations:
            if operation in READERS:
                raise ValueError(f"aten.{operation} already has a reader")
            READERS[operation] = reader
        return reader

    return register


def arguments(operation: str, call: Call) -> Mapping[str, Any]:
    """The call's arguments by the names that torch gives them, with its defaults."""
    schema = getattr(torch.ops.aten, operation).default._schema
    named = dict(zip((each.name for each in schema.arguments), call.args, strict=False))
    return {each.name: each.default_value for each in schema.arguments} | named | call.kwargs
