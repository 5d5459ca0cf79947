"""The learning rate over a run."""

from collections.abc import Iterable

import keras

from agkd_tf.errors import InputError, check_range

LATEST = 2**31 - 1  # times an epoch's steps, TensorFlow can still count to it


def step_decay(
    learning_rate: float, *, decay_epochs: Iterable[int], decay_rate: float, steps_per_epoch: int
) -> keras.optimizers.schedules.LearningRateSchedule | float:
    """Returns a schedule that multiplies the rate by `decay_rate` at each of `decay_epochs`.

    Args:
        learning_rate: the first rate.
        decay_epochs: increasing 0-based epochs; the lower rate applies from that epoch's first step on.
        decay_rate: factor in (0, 1].
        steps_per_epoch: optimizer steps an epoch.

    Returns:
        A `keras.optimizers.schedules.PiecewiseConstantDecay`, or the rate itself without epochs.

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
    # Keras applies a boundary's own step with the rate before it.
    boundaries = [epoch * steps_per_epoch - 1 for epoch in epochs]
    rates = [learning_rate * decay_rate**power for power in range(len(epochs) + 1)]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates)
