"""Being asked to stop: by Ctrl-C, or by a scheduler that wants the machine back."""

import contextlib
import signal
import threading
import types
from collections.abc import Iterator

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class InterruptedTrainingError(RuntimeError):
    """Raised when a training was asked to stop and has saved where it is; says where."""


class Interruption:
    """Whether a signal to stop has come.

    Attributes:
        name: of the signal, such as "SIGTERM"; None until one comes.
    """

    name: str | None = None

    def _came(self, number: int, frame: types.FrameType | None) -> None:
        self.name = signal.Signals(number).name
        for each in SIGNALS:
            # Who asks twice does not want to wait.
            signal.signal(each, signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL)


@contextlib.contextmanager
def interruptible() -> Iterator[Interruption]:
    """Yields an `Interruption`; within, the first SIGTERM or SIGINT only notes itself there.

    In another thread than the main one, where signals cannot be handled, nothing is changed.
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
