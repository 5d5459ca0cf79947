"""The time that is left, and what fits it."""

import time
from collections.abc import Callable, Sequence

CLOSING = 10.0  # seconds that are kept for writing


class Budget:
    """Seconds that are left.

    Args:
        seconds: of the whole.
        clock: returns the time, in seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._begun, self.seconds = clock, clock(), seconds

    @property
    def spent(self) -> float:
        """Seconds since the beginning."""
        return self._clock() - self._begun

    @property
    def left(self) -> float:
        """Seconds until the closing."""
        return self.seconds - CLOSING - self.spent

    def fits(self, seconds: float) -> bool:
        """Returns whether there is so much time."""
        return seconds <= self.left


def longest(lengths: Sequence[int], seconds_an_epoch: float, available: float) -> int | None:
    """Returns the greatest number of epochs that takes no more than the available seconds; None if none does."""
    return max((epochs for epochs in lengths if epochs * seconds_an_epoch <= available), default=None)
