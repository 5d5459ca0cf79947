"""Messages for the user: the error for a user's mistake, and notes."""

from collections.abc import Collection
from typing import Any, TypeVar

_Value = TypeVar("_Value")
_Number = TypeVar("_Number", bound=float)


class InputError(ValueError):
    """Raised for a bad value, file or combination that the caller chose.

    The message is one line: the argument, what was received and what is allowed. The command-line tools
    print it and exit with code 2. Any other exception is a bug in this library.
    """


class Note(UserWarning):
    """A warning that says in one line what was guessed, left out or done differently than one may expect.

    The command-line tools print it as `note: ...`; the `warnings` module shows, silences or raises it like any other
    warning.
    """


def check_choice(argument: str, value: _Value, allowed: Collection[Any]) -> _Value:
    """Returns `value` if it is one of `allowed`.

    Raises:
        InputError: if it is not; the message lists the allowed values.
    """
    if value not in allowed:
        raise InputError(f"`{argument}` must be one of {', '.join(map(str, allowed))}. Received: {value!r}")
    return value


def check_range(
    argument: str, value: _Number, low: float, high: float = float("inf"), *, low_open: bool = False
) -> _Number:
    """Returns `value` if it is a number in [low, high], or in (low, high] with `low_open`.

    Raises:
        InputError: if it lies outside, or is NaN.
    """
    if not (low < value <= high if low_open else low <= value <= high):
        edge = f"({low}" if low_open else f"[{low}"
        raise InputError(f"`{argument}` must be in {edge}, {high}]. Received: {value}")
    return value


def check_eps(argument: str, value: _Number) -> _Number:
    """Returns `value` if it is a perturbation size for images in [0, 1].

    Raises:
        InputError: if it lies outside [0, 1]; for whole pixel values such as 8, the message suggests 8/255.
    """
    if value > 1 and float(value).is_integer():
        raise InputError(
            f"`{argument}` is in units of images in [0, 1]. Received: {value:g} (did you mean {value:g}/255?)"
        )
    return check_range(argument, value, 0.0, 1.0)
