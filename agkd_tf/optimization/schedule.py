"""Learning rate schedules."""

import math
from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf
from keras.optimizers.schedules import LearningRateSchedule

from agkd_tf.errors import InputError, check_choice, check_range

# LearningRateSchedule -> share of the training in which the learning rate rises.
SCHEDULES = {"step": 0.0, "cosine": 0.0, "one_cycle": 0.3, "cyclic": 0.5}
LATEST = 2**31 - 1  # last epoch: TensorFlow can still count to this times the steps per epoch


def step_decay(
    learning_rate: float, *, decay_epochs: Iterable[int], decay_rate: float, steps_per_epoch: int
) -> LearningRateSchedule | float:
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
class WarmUp(LearningRateSchedule):
    """A schedule whose first rates are lowered: step s of `steps` has s / steps of its rate.

    Args:
        schedule: the schedule, or a constant rate.
        steps: number of steps in which the rate rises from 0.

    Raises:
        InputError: for fewer steps than one.
    """

    def __init__(self, schedule: LearningRateSchedule | float, steps: int) -> None:
        check_range("steps", steps, 1)
        if isinstance(schedule, dict):
            schedule = keras.optimizers.schedules.deserialize(schedule)
        self.schedule, self.steps = schedule, int(steps)

    def __call__(self, step: Any) -> tf.Tensor:
        """Returns the rate, float32, of a step, counted from 0."""
        rate = self.schedule(step) if isinstance(self.schedule, LearningRateSchedule) else self.schedule
        return tf.minimum(tf.cast(step, tf.float32) / self.steps, 1.0) * rate

    def get_config(self) -> dict[str, Any]:
        own = self.schedule
        is_schedule = isinstance(own, LearningRateSchedule)
        return {"schedule": keras.optimizers.schedules.serialize(own) if is_schedule else own, "steps": self.steps}


def cosine_decay(learning_rate: float, *, steps: int, rising: float = 0.0) -> LearningRateSchedule:
    """Returns a schedule that falls along a cosine to 0, after a share of linear warm-up from 0.

    Args:
        learning_rate: the highest rate.
        steps: optimizer steps of the whole training.
        rising: share of the steps in which the rate rises.

    Returns:
        A `keras.optimizers.schedules.CosineDecay`.

    Raises:
        InputError: for values out of range.

    Source: Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, ICLR 2017, without restarts.
    """
    check_range("learning_rate", learning_rate, 0.0, low_open=True)
    warm = _warm_steps(rising, steps)
    if not warm:
        return keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    return keras.optimizers.schedules.CosineDecay(0.0, steps - warm, warmup_target=learning_rate, warmup_steps=warm)


def _check_rising(rising: float) -> None:
    if not 0.0 < rising < 1.0:
        raise InputError(f"`rising` must be in (0, 1). Received: {rising}")


@keras.saving.register_keras_serializable(package="agkd_tf")
class OneCycle(LearningRateSchedule):
    """A learning rate that rises along a cosine to its peak, and falls along another.

    Args:
        peak: the highest rate.
        steps: optimizer steps of the whole training; later steps keep the last step's rate.
        rising: share of the steps before the peak.
        first, last: rates of the first and the last step; peak / 25 and peak / 250,000 if not given.

    Raises:
        InputError: for values out of range, or fewer steps than a rise and a fall take.

    Source: Smith and Topin, Super-Convergence, 2018, as in PyTorch's `OneCycleLR` with its default settings. What
    `OneCycleLR` does to the momentum at the same time, unless told not to, is in `cycled_momentum`.
    """

    FIRST, LAST = 25.0, 1e4  # peak / first rate, and first rate / last rate

    def __init__(
        self, peak: float, steps: int, rising: float = 0.3, first: float | None = None, last: float | None = None
    ) -> None:
        check_range("learning_rate", peak, 0.0, low_open=True)
        _check_rising(rising)
        self.peak, self.steps, self.rising = float(peak), int(steps), float(rising)
        self.first = self.peak / self.FIRST if first is None else float(first)
        self.last = self.first / self.LAST if last is None else float(last)
        self._top, self._end = self.rising * self.steps - 1.0, self.steps - 1.0
        if not 0.0 < self._top < self._end:
            raise InputError(
                f"a one-cycle learning rate needs at least {int(1 / self.rising) + 1} optimizer steps: train more "
                f"epochs, or in smaller batches. Received: {steps}"
            )

    def __call__(self, step: Any) -> tf.Tensor:
        """Returns the rate, float32, of a step, counted from 0."""
        step = tf.minimum(tf.cast(step, tf.float32), self._end)

        def between(begin: float, end: float, share: tf.Tensor) -> tf.Tensor:
            return end + (begin - end) / 2.0 * (1.0 + tf.cos(math.pi * share))

        rise = between(self.first, self.peak, step / self._top)
        fall = between(self.peak, self.last, (step - self._top) / (self._end - self._top))
        return tf.where(step <= self._top, rise, fall)

    def get_config(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("peak", "steps", "rising", "first", "last")}


@keras.saving.register_keras_serializable(package="agkd_tf")
class Triangle(LearningRateSchedule):
    """A learning rate that rises in a straight line from 0 to its peak, and falls in another to 0.

    Args:
        peak: the highest rate.
        steps: optimizer steps of the whole training; later steps have the rate 0.
        rising: share of the steps before the peak.
        foot: what the rate is at the beginning and the end, if not 0.

    Raises:
        InputError: for values out of range.

    Source: Smith, Cyclical Learning Rates for Training Neural Networks, WACV 2017, a single cycle, as in PyTorch's
    `CyclicLR`; the first step has the rate 0. Wong et al., Fast is better than free, ICLR 2020, train with it.
    """

    def __init__(self, peak: float, steps: int, rising: float = 0.5, foot: float = 0.0) -> None:
        check_range("learning_rate", peak, 0.0, low_open=True)
        check_range("steps", steps, 1)
        _check_rising(rising)
        self.peak, self.steps, self.rising, self.foot = float(peak), int(steps), float(rising), float(foot)

    def __call__(self, step: Any) -> tf.Tensor:
        """Returns the rate, float32, of a step, counted from 0."""
        share = tf.minimum(tf.cast(step, tf.float32) / self.steps, 1.0)
        height = tf.where(share <= self.rising, share / self.rising, (1.0 - share) / (1.0 - self.rising))
        return self.foot + height * (self.peak - self.foot)

    def get_config(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("peak", "steps", "rising", "foot")}


def cycled_momentum(schedule: str, *, steps: int, rising: float | None = None) -> LearningRateSchedule:
    """Returns the schedule of the momentum that PyTorch's schedules set by default: low where the rate is high.

    Args:
        schedule: "one_cycle", for 0.95 to 0.85 and back along cosines, or "cyclic", for 0.9 to 0.8 and back in
            straight lines.
        steps: optimizer steps of the whole training.
        rising: as of the learning rate's schedule; None for that schedule's own.

    Raises:
        InputError: for another schedule, or values out of range.
    """
    share = SCHEDULES.get(schedule, 0.0) if rising is None else rising
    if schedule == "one_cycle":
        return OneCycle(0.85, steps, share, first=0.95, last=0.95)
    if schedule == "cyclic":
        return Triangle(0.8, steps, share, foot=0.9)
    raise InputError(f"the momentum cycles with `schedule` one_cycle or cyclic alone. Received: {schedule!r}")


def learning_rate_schedule(
    schedule: str,
    learning_rate: float,
    *,
    epochs: int,
    steps_per_epoch: int,
    rising: float | None = None,
    decay_epochs: Iterable[int] = (),
    decay_rate: float = 0.1,
) -> LearningRateSchedule | float:
    """Returns the learning rate of a training, by the name of its schedule.

    Args:
        schedule: one of `SCHEDULES`.
        learning_rate: the highest rate.
        epochs: length of the training.
        steps_per_epoch: optimizer steps per epoch.
        rising: share of the training in which the rate rises; None for the schedule's own, in `SCHEDULES`.
        decay_epochs, decay_rate: of "step" (see `step_decay`).

    Raises:
        InputError: for values out of range.
    """
    check_choice("schedule", schedule, SCHEDULES)
    steps, share = epochs * steps_per_epoch, SCHEDULES[schedule] if rising is None else rising
    if schedule == "one_cycle":
        return OneCycle(learning_rate, steps, share)
    if schedule == "cyclic":
        return Triangle(learning_rate, steps, share)
    if schedule == "cosine":
        return cosine_decay(learning_rate, steps=steps, rising=share)
    decayed = step_decay(
        learning_rate, decay_epochs=decay_epochs, decay_rate=decay_rate, steps_per_epoch=steps_per_epoch
    )
    warm = _warm_steps(share, steps)
    return WarmUp(decayed, warm) if warm else decayed


def _warm_steps(rising: float, steps: int) -> int:
    check_range("rising", rising, 0.0, 1.0)
    warm = round(rising * steps)
    if warm >= steps:
        raise InputError(f"the learning rate must not rise all the time. Received: {rising:g} of {steps} steps")
    return warm
