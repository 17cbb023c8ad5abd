"""The one exception that callers need to know."""


class SwatcostError(ValueError):
    """Input that cannot be used. Its text is one line that names the value and the remedy."""
