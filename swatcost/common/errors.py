"""The exceptions that callers need to know."""

LONGEST_MESSAGE = 300
"""Characters that are quoted of another library's message."""


class SwatcostError(ValueError):
    """Input that cannot be used. Its text is one line that names the value and the remedy."""


class MissingPackageError(SwatcostError):
    """An optional package is not installed. The text says what needs it and how to install it."""


class SwatcostWarning(UserWarning):
    """Input that was used although it may not be what was meant. Its text is one line."""


def first_line(error: BaseException) -> str:
    """The first line of an exception's message; its type if there is no message."""
    try:
        message = str(error).strip()
    except Exception:  # an exception of the user's own, whose text fails
        message = ""
    return (message or type(error).__name__).splitlines()[0]
