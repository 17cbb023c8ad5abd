"""The version, apart so that the output can name it."""

__version__ = "0.1.0"
