"""Small habits of a training run, as Keras callbacks."""

import math
import os
import time
from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from agkd_tf.training.checkpoints import Checkpoints


class NonFiniteLossError(RuntimeError):
    """Raised when a loss term is NaN or infinite; says which one, where, and what to try."""


class StopOnNonFinite(keras.callbacks.Callback):
    """Stops training at the first term that is NaN or infinite.

    Under loss scaling a gradient that is not finite leaves its step out and halves the scale; where that goes on until
    the scale is below 1, no overflow is behind it, and training stops, too.

    Args:
        checkpoints: `Checkpoints`, whose newest is named; None where none are made.
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
    """A CSV file with a line an epoch, continued with the columns that it has.

    Keras writes the names of what is logged in the first line alone: where a later version of this library logs more,
    the values would stand under other names.

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
    """Validates the moving average of the student's weights, where the optimizer keeps one."""

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._averaged = self.model.averaged()
        self._averaged.__enter__()

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        self._averaged.__exit__(None, None, None)


class KeepWeights(keras.callbacks.Callback):
    """Leaves the student as the last step did, where Keras ends a training with the weights' moving average instead."""

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
