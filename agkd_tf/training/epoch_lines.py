"""One line per epoch, while a training runs."""

import statistics
import time
from typing import Any

import keras
from tqdm import tqdm

from agkd_tf.progress import Progress

COLUMNS = (("epoch", 9), ("loss", 9), ("clean", 10), ("robust", 10), ("images/s", 10), ("left", 9))


class EpochLines(keras.callbacks.Callback):
    """Prints one line per epoch: loss, validation accuracies, training images per second, and the time left.

    Within an epoch, a bar or an occasional line shows the steps (see `Progress`).

    Args:
        progress: how the training is shown.
        epochs: number of the last epoch, counted from 1.
        steps: number of steps in a whole epoch.
        first_line: printed once, above the lines.
    """

    def __init__(self, progress: Progress, *, epochs: int, steps: int, first_line: str = "") -> None:
        super().__init__()
        self._progress, self._epochs, self._steps, self._first_line = progress, epochs, steps, first_line
        self._seconds: list[float] = []
        self._heading_is_due = True

    @property
    def _done_before(self) -> int:
        """Number of steps of the epoch that were done before the training was resumed within it."""
        return self._steps - self.params["steps"]

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._begun = time.monotonic()
        self._show = self._progress.counting(f"epoch {epoch + 1} of {self._epochs}", "step", self._done_before)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self._show is not None:
            self._show(self._done_before + batch + 1, self._steps)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        if self._heading_is_due:
            self._progress.say(f"{self._first_line}\n{_line([name for name, _ in COLUMNS])}".lstrip())
            self._heading_is_due = False
        self._seconds.append((time.monotonic() - self._begun) * self._steps / (self._steps - self._done_before))
        # The first epoch is slow, since it includes tracing. From the second on, the lower median ignores it.
        left = (self._epochs - epoch - 1) * statistics.median_low(self._seconds)
        cells = [
            f"{epoch + 1}/{self._epochs}",
            f"{logs['loss']:.4f}",
            *(f"{100 * logs[name]:.2f} %" if name in logs else "" for name in ("val_accuracy", "val_robust_accuracy")),
            f"{logs['images_per_second']:,.0f}",
            tqdm.format_interval(left),
        ]
        self._progress.say(_line(cells))


def _line(cells: list[str]) -> str:
    return "".join(f"{cell:>{width}}" for cell, (_, width) in zip(cells, COLUMNS, strict=True))
