"""Names of modules and parameters, as printed."""

from swatcost.common.printing import printable


def without_wrappers(name: str) -> str:
    """A module's name as the user wrote it, without the wrappers that torch.compile adds."""
    return printable(".".join(part for part in name.split(".") if part != "_orig_mod"))
