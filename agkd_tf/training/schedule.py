"""Learning rate schedules."""

import math
from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from agkd_tf.errors import InputError, check_range

LATEST = 2**31 - 1  # last epoch: TensorFlow can still count to this times the steps per epoch


def step_decay(
    learning_rate: float, *, decay_epochs: Iterable[int], decay_rate: float, steps_per_epoch: int
) -> keras.optimizers.schedules.LearningRateSchedule | float:
    """Returns a schedule that multiplies the rate by `decay_rate` at each of `decay_epochs`.

    Args:
        learning_rate: the initial rate.
        decay_epochs: increasing 0-based epochs; the lower rate applies from that epoch's first step on.
        decay_rate: factor in (0, 1].
        steps_per_epoch: optimizer steps per epoch.

    Returns:
        A `keras.optimizers.schedules.PiecewiseConstantDecay`, or the rate itself if there are no epochs.

    Raises:
        InputError: for values out of range or epochs that do not increase.
    """
    check_range("learning_rate", learning_rate, 0.0, low_open=True)
    check_range("decay_rate", decay_rate, 0.0, 1.0, low_open=True)
    epochs = list(decay_epochs)
    if epochs != sorted(set(epochs)) or any(not 1 <= epoch <= LATEST for epoch in epochs):
        raise InputError(f"`decay_epochs` must be increasing epochs from 1 to {LATEST}. Received: {epochs}")
    if not epochs:
        return learning_rate
    # In the step of a boundary, Keras still uses the rate before it.
    boundaries = [epoch * steps_per_epoch - 1 for epoch in epochs]
    rates = [learning_rate * decay_rate**power for power in range(len(epochs) + 1)]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates)


@keras.saving.register_keras_serializable(package="agkd_tf")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises along a cosine from 1/25 of its peak, and falls along another to 1/250,000 of it.

    Args:
        peak: the highest rate.
        steps: optimizer steps of the whole training; later steps keep the last step's rate.
        rising: share of the steps before the peak.

    Raises:
        InputError: for values out of range, or fewer steps than a rise and a fall take.

    Source: Smith and Topin, Super-Convergence, 2018, as in PyTorch's `OneCycleLR` with its default settings, except
    that `OneCycleLR` also changes the momentum unless told not to.
    """

    FIRST, LAST = 25.0, 1e4  # peak / first rate, and first rate / last rate

    def __init__(self, peak: float, steps: int, rising: float = 0.3) -> None:
        check_range("learning_rate", peak, 0.0, low_open=True)
        check_range("rising", rising, 0.0, 1.0, low_open=True)
        self.peak, self.steps, self.rising = float(peak), int(steps), float(rising)
        self._top, self._end = self.rising * self.steps - 1.0, self.steps - 1.0
        if not 0.0 < self._top < self._end:
            raise InputError(f"a one-cycle learning rate needs more steps. Received: {steps}")

    def __call__(self, step: Any) -> tf.Tensor:
        """Returns the rate, float32, of a step, counted from 0."""
        step = tf.minimum(tf.cast(step, tf.float32), self._end)
        first = self.peak / self.FIRST

        def between(begin: float, end: float, share: tf.Tensor) -> tf.Tensor:
            return end + (begin - end) / 2.0 * (1.0 + tf.cos(math.pi * share))

        rise = between(first, self.peak, step / self._top)
        fall = between(self.peak, first / self.LAST, (step - self._top) / (self._end - self._top))
        return tf.where(step <= self._top, rise, fall)

    def get_config(self) -> dict[str, Any]:
        return {"peak": self.peak, "steps": self.steps, "rising": self.rising}
