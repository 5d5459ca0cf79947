"""Keeps track of the time that is left, and of what fits into it."""

import time
from collections.abc import Callable, Sequence

CLOSING = 10.0  # seconds reserved for writing at the end


class Budget:
    """A number of seconds to spend, and how many of them are left.

    Args:
        seconds: seconds in all.
        clock: returns the time, in seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._begun, self.seconds = clock, clock(), seconds

    @property
    def spent(self) -> float:
        """Seconds since this budget began."""
        return self._clock() - self._begun

    @property
    def left(self) -> float:
        """Seconds that are left before those reserved for writing."""
        return self.seconds - CLOSING - self.spent

    def fits(self, seconds: float) -> bool:
        """Returns whether that many seconds are left."""
        return seconds <= self.left


def longest(lengths: Sequence[int], seconds_an_epoch: float, available: float) -> int | None:
    """Returns the greatest of the numbers of epochs that takes no more than the available seconds, or None."""
    return max((epochs for epochs in lengths if epochs * seconds_an_epoch <= available), default=None)
