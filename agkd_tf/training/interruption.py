"""Requests to stop a training: Ctrl-C, or a signal from a scheduler that wants the machine back."""

import contextlib
import signal
import threading
import types
from collections.abc import Iterator

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class InterruptedTrainingError(RuntimeError):
    """Raised when a training has stopped on request and saved its state; the message says where."""


class Interruption:
    """Whether a signal to stop has come.

    Attributes:
        name: name of the signal, such as "SIGTERM"; None until one comes.
    """

    name: str | None = None

    def _came(self, number: int, frame: types.FrameType | None) -> None:
        self.name = signal.Signals(number).name
        for each in SIGNALS:
            # A second signal stops the process at once.
            signal.signal(each, signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL)


@contextlib.contextmanager
def interruptible() -> Iterator[Interruption]:
    """Yields an `Interruption`; within the block, the first SIGTERM or SIGINT is only recorded there.

    In other threads than the main one, signals cannot be handled, and nothing is changed.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    before = {each: signal.signal(each, interruption._came) for each in SIGNALS}
    try:
        yield interruption
    finally:
        for each, handler in before.items():
            if handler is not None:  # one that was not installed from Python cannot be put back
                signal.signal(each, handler)
