"""Names of modules and parameters, as printed."""


def without_wrappers(name: str) -> str:
    """A module's name as the user wrote it, without the wrappers that torch.compile adds."""
    return printable(".".join(part for part in name.split(".") if part != "_orig_mod"))


def printable(name: str) -> str:
    """A name that fits on one line of any file: without control characters and lone surrogates."""
    plain = name if name.isprintable() else "".join(each if each.isprintable() else "?" for each in name)
    return plain.encode("utf-8", "replace").decode("utf-8")
