"""What ends a piece of the measuring, or all of it."""

import traceback


class MeasureError(Exception):
    """What a user can mend, in one line."""


class OutOfTimeError(Exception):
    """A piece that took longer than there was time for."""


def reason(error: Exception) -> str:
    """Returns in one line why a piece failed; what is not foreseen is printed with its place, too."""
    text = " ".join(str(error).split())[:300]
    if isinstance(error, MeasureError | OutOfTimeError) or type(error).__name__ == "PortableError":
        return text
    traceback.print_exc()
    return f"{type(error).__name__}: {text}"
