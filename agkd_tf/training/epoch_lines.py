"""One line per epoch, while a training runs."""

import statistics
import time
from typing import Any

import keras
from tqdm import tqdm

from agkd_tf.progress import Progress

COLUMNS = (("epoch", 9), ("loss", 9), ("clean", 10), ("robust", 10), ("images/s", 10), ("left", 9))


class EpochLines(keras.callbacks.Callback):
    """Prints one line per epoch: loss, validation accuracies, training images per second, and the time that is left.

    Within an epoch, a bar or a line now and then shows the steps (see `Progress`).

    Args:
        progress: how it is shown.
        epochs: number of the last epoch, counted from 1.
        steps: steps of a whole epoch.
        first_line: printed above the lines, once.
    """

    def __init__(self, progress: Progress, *, epochs: int, steps: int, first_line: str = "") -> None:
        super().__init__()
        self._progress, self._epochs, self._steps, self._first_line = progress, epochs, steps, first_line
        self._seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._begun = time.monotonic()
        self._show = self._progress.counting(f"epoch {epoch + 1} of {self._epochs}", "step")

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self._show is not None:
            done = self._steps - self.params["steps"]  # in an epoch that is resumed, before this sitting
            self._show(done + batch + 1, self._steps)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        if not self._seconds:
            self._progress.say(f"{self._first_line}\n{_line([name for name, _ in COLUMNS])}".lstrip())
        self._seconds.append(time.monotonic() - self._begun)
        # The first epoch is slow: it has the tracing. The lower median leaves it out from the second on.
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
