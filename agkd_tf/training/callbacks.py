"""Keras callbacks that every training run has."""

import math
import os
import time
from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from agkd_tf.training.checkpoints import Checkpoints


class NonFiniteLossError(RuntimeError):
    """Raised when a term of the loss is NaN or infinite; the message says which one, at which step, and what to try."""


class StopOnNonFinite(keras.callbacks.Callback):
    """Stops training at the first term that is NaN or infinite.

    With loss scaling, a gradient that is not finite skips its step and halves the scale. If the scale falls below 1,
    overflow is not the cause, and training stops, too.

    Args:
        checkpoints: `Checkpoints`, the newest of which is named in the message; None if there are none.
    """

    def __init__(self, checkpoints: "Checkpoints | None" = None) -> None:
        super().__init__()
        self._checkpoints = checkpoints

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        bad = [name for name, value in (logs or {}).items() if not math.isfinite(value)]
        scale = getattr(self.model.optimizer, "dynamic_scale", None)
        if scale is not None and float(scale.numpy()) < 1.0:
            bad.append("the gradient, at a loss scale below 1,")
        if bad:
            step = self.model.step.numpy()
            latest = self._checkpoints and self._checkpoints.latest
            good = f"checkpoint {latest} is from before" if latest else "there was no checkpoint yet"
            raise NonFiniteLossError(
                f"{', '.join(bad)} became NaN or infinite at step {step}: training stopped, {good}; "
                'a lower `learning_rate` or `mixed_precision="float32"` are the usual remedies'
            )


class AppendedHistory(keras.callbacks.CSVLogger):
    """A CSV file with one line per epoch; a resumed run keeps the columns that the file has.

    Keras writes the names of the columns only into a new file. If a later version of this library logs more, the values
    would end up in the wrong columns.

    Args:
        path: the file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(str(path), append=True)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        super().on_train_begin(logs)
        if not self.append_header:
            with open(self.filename, encoding="utf-8") as file:
                self.keys = file.readline().strip().split(",")[1:]


class ValidateAverage(keras.callbacks.Callback):
    """Validates the moving average of the student's weights, if the optimizer keeps one."""

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._averaged = self.model.averaged()
        self._averaged.__enter__()

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        self._averaged.__exit__(None, None, None)


class KeepWeights(keras.callbacks.Callback):
    """Keeps the weights of the last step; Keras would replace them by their moving average at the end of a training."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._weights = [variable.numpy() for variable in self.model.student.trainable_variables]

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        for variable, value in zip(self.model.student.trainable_variables, self._weights, strict=True):
            variable.assign(value)


class Throughput(keras.callbacks.Callback):
    """Adds `images_per_second` of the epoch's training steps to its logs.

    Args:
        batch_size: images a step.
    """

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self._batch_size = batch_size

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._begin, self._steps, self._seconds = time.perf_counter(), 0, 0.0

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._steps = batch + 1
        self._seconds = time.perf_counter() - self._begin

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        logs["images_per_second"] = self._steps * self._batch_size / self._seconds
