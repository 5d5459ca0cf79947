"""Stochastic gradient descent in the form that PyTorch has, with what the papers' code adds to it."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras.optimizers.schedules import LearningRateSchedule

from agkd_tf.errors import check_range
from agkd_tf.keras_internals import slot_of

RISE = (1.0, 10.0)  # after n steps of the average, it keeps at most (1 + n) / (10 + n) of itself


@keras.saving.register_keras_serializable(package="agkd_tf")
class SGD(keras.optimizers.SGD):
    """Stochastic gradient descent whose velocity does not contain the learning rate.

        v <- momentum * v + g
        w <- w - rate * v                         or, with `nesterov`, w - rate * (g + momentum * v)

    This is the form of PyTorch, in which a change of the rate applies at once. In `keras.optimizers.SGD` the velocity
    is `momentum * v - rate * g`, so that after a drop of the rate the old rate runs on for some steps. As long as the
    rate is constant, the two are equal.

        optimizer = SGD(OneCycle(0.1, steps=3000), momentum=0.9, nesterov=True)

    Args:
        learning_rate: rate, or its schedule.
        momentum: momentum in [0, 1].
        nesterov: whether the step looks ahead along the velocity.
        momentum_schedule: schedule of the momentum, used in its place; None for a constant one.
        ema_warmup: with `use_ema`, the number of steps during which the average is a copy of the weights. After n more
            steps it keeps min(`ema_momentum`, (1 + n) / (10 + n)) of itself. None for `ema_momentum` from the first
            step on, as in Keras.
        **kwargs: as `keras.optimizers.SGD`.

    Raises:
        InputError: for values out of range.

    Source of the average's warm-up: Gowal et al., Uncovering the Limits of Adversarial Training against Norm-Bounded
    Adversarial Examples, 2020, in the form of the code of Wang et al., Better Diffusion Models Further Improve
    Adversarial Training, ICML 2023.
    """

    momentums: list[keras.Variable]

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        *,
        momentum_schedule: LearningRateSchedule | None = None,
        ema_warmup: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_range("momentum", momentum, 0.0, 1.0)
        if ema_warmup is not None:
            check_range("ema_warmup", ema_warmup, 0)
        super().__init__(learning_rate, momentum=float(momentum), nesterov=nesterov, **kwargs)
        if isinstance(momentum_schedule, dict):
            momentum_schedule = keras.optimizers.schedules.deserialize(momentum_schedule)
        self.momentum_schedule, self.ema_warmup = momentum_schedule, ema_warmup

    @property
    def ema_momentum(self) -> float | tf.Tensor:
        """Share of itself that the moving average keeps in the next step: a number, or a float32 scalar."""
        if getattr(self, "ema_warmup", None) is None:
            return self._ema_momentum
        averaged = keras.ops.cast(self.iterations, "float32") + 1.0 - self.ema_warmup  # steps, counted from 1
        rising = (RISE[0] + averaged) / (RISE[1] + averaged)
        return tf.where(averaged < 0.0, 0.0, tf.minimum(self._ema_momentum, rising))

    @ema_momentum.setter
    def ema_momentum(self, value: float) -> None:
        self._ema_momentum = value

    def momentum_now(self) -> float | tf.Tensor:
        """Returns the momentum of the next step: a number, or a float32 scalar."""
        return self.momentum if self.momentum_schedule is None else self.momentum_schedule(self.iterations)

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Makes the velocities, also where the momentum is 0 and scheduled."""
        super().build(variables)
        if self.momentum_schedule is not None and not self.momentums:
            self.momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """Updates a weight; see the class."""
        rate, gradient = tf.cast(learning_rate, variable.dtype), tf.cast(gradient, variable.dtype)
        if self.momentums:
            velocity = slot_of(self, self.momentums, variable)
            momentum = tf.cast(self.momentum_now(), variable.dtype)
            moved = momentum * tf.convert_to_tensor(velocity) + gradient
            self.assign(velocity, moved)
            gradient = gradient + momentum * moved if self.nesterov else moved
        self.assign_sub(variable, rate * gradient)

    def get_config(self) -> dict[str, Any]:
        schedule = self.momentum_schedule
        return {
            **super().get_config(),
            "ema_momentum": self._ema_momentum,
            "momentum_schedule": None if schedule is None else keras.optimizers.schedules.serialize(schedule),
            "ema_warmup": self.ema_warmup,
        }
