"""The version, in a file without imports, so that building the package needs no dependencies."""

__version__ = "0.1.0"
