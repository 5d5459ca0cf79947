"""The version, in a file that imports nothing, so that building the package needs nothing either."""

__version__ = "0.1.0"
