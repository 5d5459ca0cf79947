"""The programs of a portable folder: a training's step and validation, and an evaluation's attacks."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from agkd_tf.attacks import Attack, Ball
from agkd_tf.data.pixels import as_float
from agkd_tf.defenses import Defense
from agkd_tf.defenses.pure_step import PureStep
from agkd_tf.errors import InputError
from agkd_tf.evaluation.run_attack import attack_step
from agkd_tf.models import Classifier
from agkd_tf.randomness import step_seed
from tools.laboratory.stablehlo import Platform, StableHLO, lowered


def step_program(
    defense: Defense, *, batch_size: int, total_steps: int, platform: Platform = "GPU"
) -> tuple[StableHLO, list[str]]:
    """Returns the program of a training step, and the names of its scalars.

    Its arguments are the state and the frozen values of `PureStep`, the learning rate of each step, float32
    [total_steps], and the batch: indices and labels, int32 [batch_size]. It returns the new state, then the scalars.

    Args:
        defense: a defense that is compiled without XLA and has its images on the device.
        batch_size: images per step.
        total_steps: steps of the training.
        platform: kind of device.

    Raises:
        InputError: if the defense has no pure step, or draws from only a part of the images.
    """
    if defense.resident is None:
        raise InputError("a portable step needs its images on the device: build the defense with `resident=True`")
    if defense.pool is not None and defense.pool.bounded:
        raise InputError("a portable step must draw from all images: leave out `pool_capacity`")
    step = PureStep(defense)
    width, names = len(step.variables), list[str]()
    done, taken = (place_of(variable, step.variables) for variable in (defense.step, step.sgd.iterations))

    def program(*arguments: tf.Tensor) -> list[tf.Tensor]:
        *values, rates, indices, labels = arguments
        state, frozen = values[:width], values[width:]
        # As in `fit`, the rate is that of the number of applied steps; a step that overflows is not applied.
        rate = tf.gather(rates, tf.minimum(tf.cast(state[taken], tf.int32), total_steps - 1))
        seed = step_seed(defense.seed, state[done])
        after, scalars = step(state, frozen, labels, seed=seed, learning_rate=rate, indices=indices)
        names[:] = scalars
        return [*after, *scalars.values()]

    integers = tf.TensorSpec([batch_size], tf.int32)
    signature = [*_specs(step.variables), *_specs(step.frozen), tf.TensorSpec([total_steps], tf.float32)]
    return lowered(program, [*signature, integers, integers], platform=platform), names


def validation_program(defense: Defense, *, batch_size: int, platform: Platform = "GPU") -> tuple[StableHLO, list[str]]:
    """Returns the program that validates a batch, and the names of the sums that it returns, float32 scalars.

    Its arguments are the values of the student's variables; images uint8 [batch_size, H, W, C]; labels and indices,
    int32 [batch_size]; and float32 [batch_size], 0 for the images that pad the last batch and 1 for all others.

    Args:
        defense: `Defense`.
        batch_size: images per batch.
        platform: kind of device.
    """
    variables, names = defense.student.variables, list[str]()

    def program(*arguments: tf.Tensor) -> list[tf.Tensor]:
        *values, images, labels, indices, valid = arguments
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            found = defense.judge(as_float(images), labels, indices)
        names[:] = found
        return [tf.reduce_sum(valid * each) for each in found.values()]

    images, integers = _batch(batch_size, defense.classifier.image_shape)
    signature = [*_specs(variables), images, integers, integers, tf.TensorSpec([batch_size], tf.float32)]
    return lowered(program, signature, platform=platform), names


def attack_program(
    classifier: Classifier,
    part: Attack,
    ball: Ball,
    *,
    image_shape: Sequence[int],
    batch_size: int,
    seed: int = 0,
    platform: Platform = "GPU",
) -> StableHLO:
    """Returns the program of an attack on a batch.

    Its arguments are the values of the network's variables; images uint8 [batch_size, H, W, C]; labels and indices,
    int32 [batch_size]; and the attack's variant, int32. It returns the classes that the network predicts for the
    adversarial examples, int32 [batch_size], and whether its logits are finite, bool [batch_size].

    Args:
        classifier: the network's `Classifier`.
        part: the attack.
        ball: the ball that its adversarial examples lie in.
        image_shape: (H, W, C).
        batch_size: images per batch.
        seed: seed of the attack's random numbers.
        platform: kind of device.
    """
    variables = classifier.model.variables
    attack = attack_step(part, ball, classifier.logits, step_seed(seed, 0))

    def program(*arguments: tf.Tensor) -> list[tf.Tensor]:
        *values, images, labels, indices, variant = arguments
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            _, *found = attack(images, labels, indices, variant)
        return found

    images, integers = _batch(batch_size, image_shape)
    signature = [*_specs(variables), images, integers, integers, tf.TensorSpec([], tf.int32)]
    return lowered(program, signature, platform=platform)


def place_of(variable: keras.Variable, variables: Sequence[keras.Variable]) -> int:
    """Returns the index of a variable in a sequence, by identity, since variables compare by their values."""
    return next(place for place, each in enumerate(variables) if each is variable)


def _batch(batch_size: int, image_shape: Sequence[int | None]) -> tuple[tf.TensorSpec, tf.TensorSpec]:
    return tf.TensorSpec([batch_size, *image_shape], tf.uint8), tf.TensorSpec([batch_size], tf.int32)


def _specs(variables: Sequence[keras.Variable]) -> list[tf.TensorSpec]:
    return [tf.TensorSpec(variable.shape, variable.dtype) for variable in variables]
