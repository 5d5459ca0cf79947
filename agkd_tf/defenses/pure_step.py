"""The training step as a function of its state, without variables, which can be exported and run elsewhere."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from agkd_tf.defenses.defense import Defense
from agkd_tf.errors import InputError
from agkd_tf.keras_internals import moving_averages
from agkd_tf.optimization import SGD

# Settings of a Keras optimizer that the update here does not support.
REFUSED = (
    "weight_decay",
    "clipnorm",
    "global_clipnorm",
    "clipvalue",
    "ema_overwrite_frequency",
    "gradient_accumulation_steps",
    "loss_scale_factor",
)


class PureStep:
    """A `TrainingStep` without side effects: (state, frozen, labels, seed, rate) -> (state, scalars).

        step = PureStep(defense)
        state, frozen = step.state(), step.frozen_values()
        state, scalars = step(state, frozen, labels, images=images, seed=seed, learning_rate=0.1)

    The defense's own `TrainingStep` crafts, does the passes and computes the gradients; wherever it reads a variable,
    it gets a tensor of the state. Keras' optimizers cannot update tensors on TensorFlow, so the update of SGD
    (momentum, Nesterov, moving average, loss scale) is implemented here again.

    Args:
        defense: compiled with `keras.optimizers.SGD` or `agkd_tf.optimization.SGD`, alone or in a
            `LossScaleOptimizer`, and without XLA.

    Attributes:
        variables: the variables that the state's tensors stand for, in the same order: the student's, the optimizer's,
            what the defense stores per example, and the number of steps.
        frozen: the variables that a step only reads: the images on the device, and the teacher's.
        sgd: the optimizer that does the update.

    Raises:
        InputError: for another optimizer, or for settings that the update does not support.
    """

    def __init__(self, defense: Defense) -> None:
        self._defense = defense
        optimizer = defense.optimizer
        self._scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        self.sgd = optimizer.inner_optimizer if self._scaled else optimizer
        if type(self.sgd) not in (SGD, keras.optimizers.SGD):
            raise InputError(f"a pure step needs keras.optimizers.SGD. Received: {type(self.sgd).__name__}")
        for name in REFUSED:
            if getattr(self.sgd, name, None) is not None:
                raise InputError(
                    f"a pure step does not support its optimizer's `{name}`. Received: {getattr(self.sgd, name)}"
                )
        if defense.use_xla:
            raise InputError("a pure step is compiled as a whole: compile the defense with `jit_compile=False`")
        self.variables = [*defense.student.variables, *optimizer.variables, *defense.memory.values(), defense.step]
        stores = [defense.pool] if defense.resident is defense.pool else [defense.pool, defense.resident]
        self.frozen = [variable for store in stores if store is not None for variable in store.variables]
        if defense.guide is not None:
            self.frozen += defense.guide.model.variables

    @property
    def judged(self) -> list[keras.Variable]:
        """The variables that the student is validated and saved with: its own, or their moving averages if kept."""
        weights = self._defense.student.trainable_variables
        averages = moving_averages(self.sgd) if self.sgd.use_ema else weights
        average = {id(weight): kept for weight, kept in zip(weights, averages, strict=True)}
        return [average.get(id(variable), variable) for variable in self._defense.student.variables]

    def state(self) -> list[tf.Tensor]:
        """Returns the values of `variables` as they are now."""
        return _values(self.variables)

    def frozen_values(self) -> list[tf.Tensor]:
        """Returns the values of `frozen`."""
        return _values(self.frozen)

    def assign(self, state: Sequence[tf.Tensor]) -> None:
        """Sets `variables` to a state."""
        for variable, value in zip(self.variables, state, strict=True):
            variable.assign(value)

    def __call__(
        self,
        state: Sequence[tf.Tensor],
        frozen: Sequence[tf.Tensor],
        labels: tf.Tensor,
        *,
        seed: tf.Tensor,
        learning_rate: float | tf.Tensor,
        images: tf.Tensor | None = None,
        indices: tf.Tensor | None = None,
    ) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        """Returns (the state after a step, the step's scalars by name).

        Args:
            state: what `state` or an earlier step returned.
            frozen: what `frozen_values` returned.
            labels: int32 [B].
            seed: int32 [2], the seed of this step: `agkd_tf.randomness.step_seed(defense.seed, step)` in `fit`.
            learning_rate: learning rate of this step; the optimizer's own is ignored.
            images: uint8, or float32 in [0, 1], [B, H, W, C]; not needed if the defense has them on the device.
            indices: int32 [B], each example's index; needed if the defense stores something per example, or has the
                images on the device.

        Raises:
            InputError: as `TrainingStep`, if something is missing.
        """
        defense, step = self._defense, self._defense.training_step
        values = zip([*self.variables, *self.frozen], [*state, *frozen], strict=True)
        with keras.StatelessScope(state_mapping=list(values)) as scope:
            images, memory = step.images_of(images, indices), step.remembered(indices)
            places = tf.range(0) if indices is None else indices
            crafted = step.craft(images, labels, seed, memory)
            gradients, scalars = step.differentiate(crafted, labels)
            self._update(gradients, tf.convert_to_tensor(learning_rate, tf.float32))
            if self._scaled:
                scalars["loss_scale"] = tf.convert_to_tensor(defense.optimizer.dynamic_scale)
            for name, rows in defense.memory.items():
                rows.assign(tf.tensor_scatter_nd_update(rows.value, places[:, None], crafted[name]))
            defense.step.assign(defense.step + 1)
        after = [scope.get_current_value(variable) for variable in self.variables]
        return [before if value is None else value for before, value in zip(state, after, strict=True)], scalars

    def _update(self, gradients: Sequence[tf.Tensor], rate: tf.Tensor) -> None:
        if not self._scaled:
            self._descend(gradients, rate, applied=tf.constant(True))
            return
        # As in `keras.optimizers.LossScaleOptimizer`, an overflow skips the update and halves the scale.
        optimizer = self._defense.optimizer
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(gradient)) for gradient in gradients])
        scale = optimizer.dynamic_scale.value
        self._descend([gradient / scale for gradient in gradients], rate, applied=finite)
        count = optimizer.step_counter.value
        grows = tf.equal(count, optimizer.dynamic_growth_steps - 1)
        optimizer.step_counter.assign(tf.where(tf.logical_and(finite, ~grows), count + 1, 0))
        optimizer.dynamic_scale.assign(tf.where(finite, tf.where(grows, 2.0 * scale, scale), 0.5 * scale))

    def _descend(self, gradients: Sequence[tf.Tensor], rate: tf.Tensor, *, applied: tf.Tensor) -> None:
        """Assigns the weights after a step of SGD, if `applied`.

        In Keras' form it is v <- m v - rate g, w <- w + v; in PyTorch's, v <- m v + g, w <- w - rate v.
        """
        sgd, weights = self.sgd, self._defense.student.trainable_variables
        rate_is_within = not isinstance(sgd, SGD)
        momentum = tf.cast(sgd.momentum if rate_is_within else sgd.momentum_now(), tf.float32)
        reached = []  # before any constraint
        for place, (weight, gradient) in enumerate(zip(weights, gradients, strict=True)):
            change = -rate * gradient if rate_is_within else gradient
            if sgd.momentums:
                velocity = sgd.momentums[place]
                moved = momentum * velocity.value + change
                velocity.assign(tf.where(applied, moved, velocity.value))
                change = momentum * moved + change if sgd.nesterov else moved
            reached.append(weight.value + (change if rate_is_within else -rate * change))
        if sgd.use_ema:
            # The first step starts the average. As in Keras, it is taken of the weights before any constraint.
            kept = tf.where(sgd.iterations.value > 0, tf.cast(sgd.ema_momentum, tf.float32), 0.0)
            for point, average in zip(reached, moving_averages(sgd), strict=True):
                mean = kept * average.value + (1.0 - kept) * point
                average.assign(tf.where(applied, mean, average.value))
        for weight, point in zip(weights, reached, strict=True):
            after = point if weight.constraint is None else weight.constraint(point)
            weight.assign(tf.where(applied, after, weight.value))
        iterations = sgd.iterations.value
        sgd.iterations.assign(tf.where(applied, iterations + 1, iterations))


def _values(variables: Sequence[keras.Variable]) -> list[tf.Tensor]:
    return [tf.convert_to_tensor(variable.value) for variable in variables]
