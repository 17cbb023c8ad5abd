"""The version, apart so that the output can name it, and those of what the program runs on."""

__version__ = "0.1.0"

_FOR_DEVELOPERS = r"extra == .(dev|test|docs|browser|mutants)\b"


def environment() -> list[str]:
    """What a report of a problem needs: the versions of the program, of Python, of the platform and of packages."""
    import platform
    import re
    from importlib.metadata import PackageNotFoundError, requires, version

    try:
        used = [each for each in requires("swatcost") or [] if not re.search(_FOR_DEVELOPERS, each)]
        named = [re.split(r"[^\w.-]", each, maxsplit=1)[0] for each in used]
    except PackageNotFoundError:  # run from a checkout
        named = ["torch"]
    lines = [f"swatcost {__version__}", f"Python {platform.python_version()}", platform.platform()]
    for package in sorted({each for each in named if each != "swatcost"}, key=str.lower):
        try:
            lines.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue  # an optional one that is not installed
    return lines
