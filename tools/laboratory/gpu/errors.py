"""Errors that end a piece of the measuring, or all of it."""

import traceback


class MeasureError(Exception):
    """An error that a user can fix, told in one line."""


class OutOfTimeError(Exception):
    """A piece took longer than the time that was left."""


def reason(error: Exception) -> str:
    """Returns in one line why a piece failed; prints the traceback, too, if the error is unexpected."""
    text = " ".join(str(error).split())[:300]
    if isinstance(error, MeasureError | OutOfTimeError) or type(error).__name__ == "PortableError":
        return text
    traceback.print_exc()
    return f"{type(error).__name__}: {text}"
