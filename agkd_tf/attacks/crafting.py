"""Crafts adversarial images: from arrays batch by batch, from tensors in the current graph."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from agkd_tf.attacks.ball import Ball
from agkd_tf.data.input_checks import as_array
from agkd_tf.data.labels import as_labels
from agkd_tf.data.pixels import as_float, check_pixels, check_shape, check_type
from agkd_tf.errors import InputError, check_range
from agkd_tf.logits import check_logits
from agkd_tf.models import logits_of
from agkd_tf.randomness import step_seed

Logits = Callable[[tf.Tensor], tf.Tensor]


class PlacedLogits:
    """A classifier that treats each image by its place in the batch.

    Attacks whose batch shrinks (`while_standing`) ask `logits_at` for the images that are left.

    Args:
        of: callable, (images [b, H, W, C], their places, int32 [b], or None for the whole batch) -> logits [b, n].
    """

    def __init__(self, of: Callable[[tf.Tensor, tf.Tensor | None], tf.Tensor]) -> None:
        self.of = of

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Returns the logits of a whole batch."""
        return self.of(images, None)


def logits_at(logits: Logits, rows: tf.Tensor) -> Logits:
    """Returns the classifier of the images at some places of the batch, int32 [b]: itself, but for `PlacedLogits`."""
    return (lambda images: logits.of(images, rows)) if isinstance(logits, PlacedLogits) else logits


# (attack, variant) pairs, in order. See `agkd_tf.attacks.attack`, which imports this module.
Stages = Sequence[tuple[Any, int]]
FIRST = 8  # number of images that a classifier is given to check that it returns logits


def craft(
    stages_of: Callable[[int], Stages],
    ball: Ball,
    model: Any,
    x: Any,
    y: Any,
    *,
    seed: int | tf.Tensor = 0,
    batch_size: int = 100,
) -> np.ndarray | tf.Tensor:
    """Returns, per image, the adversarial image of the first stage that fools the model, or of the last stage.

    Args:
        stages_of: callable, number of classes -> stages.
        ball: ball that the adversarial images stay in.
        model: a `keras.Model` or a callable, see `agkd_tf.models.logits_of`.
        x: images [N, H, W, C], uint8 or float in [0, 1]. A tensor is attacked as one batch in the current graph. An
            array is attacked in batches, by each stage only where the earlier ones failed.
        y: labels: integers [N]; for an array also in any other form that `agkd_tf.data.labels` reads.
        seed: integer or scalar tensor; an image's random numbers depend on it and on the image's index in `x`.
        batch_size: images per step, for an array.

    Returns:
        float32 [N, H, W, C]: a tensor if `x` is a tensor, else an array.

    Raises:
        InputError: for invalid images, labels or model.
    """
    logits, pair = logits_of(model), step_seed(seed, 0)
    if isinstance(x, tf.Tensor):
        images, labels, num_classes = _tensors(logits, x, y)
        stages = stages_of(num_classes)
        if tf.executing_eagerly():
            for attack, _ in stages:
                attack.check_images(x.numpy())
        return first_that_fools(stages, logits, images, labels, ball, tf.range(tf.shape(images)[0]), pair)
    images = np.asarray(as_array(x))
    check_range("batch_size", batch_size, 1)
    check_shape(images, (None, None, None))
    check_pixels(images)
    if not len(images):
        as_labels(y, count=0)
        return np.zeros(images.shape, np.float32)
    num_classes = _num_classes(logits, as_float(tf.constant(images[:FIRST])))
    labels = as_labels(y, num_classes, count=len(images))
    stages = stages_of(num_classes)
    for attack, _ in stages:
        attack.check_images(images)
    return _by_batches(stages, logits, images, labels, ball, pair, batch_size)


def first_that_fools(
    stages: Stages,
    logits: Logits,
    images: tf.Tensor,
    labels: tf.Tensor,
    ball: Ball,
    indices: tf.Tensor,
    seed: tf.Tensor,
) -> tf.Tensor:
    """Returns, per image, the adversarial image of the first stage that fools the classifier, or of the last stage.

    Every stage attacks the whole batch; `agkd_tf.evaluation` skips images that an earlier stage fooled.

    Args:
        stages: one or more.
        logits, images, labels, ball, indices, seed: as `Attack.perturb`.

    Returns:
        float32 [B, H, W, C].
    """
    adv = images
    for number, (attack, variant) in enumerate(stages):
        tried = attack.perturb(logits, images, labels, ball=ball, indices=indices, seed=seed, variant=variant)
        if number:
            robust = tf.equal(tf.argmax(logits(adv), axis=1, output_type=tf.int32), labels)
            tried = tf.where(robust[:, None, None, None], tried, adv)
        adv = tried
    return adv


def _tensors(logits: Logits, x: tf.Tensor, y: Any) -> tuple[tf.Tensor, tf.Tensor, int]:
    """Returns (images, labels, number of classes)."""
    check_shape(x, (None, None, None))
    if tf.executing_eagerly():
        check_pixels(x)
        images = as_float(x)
        num_classes = _num_classes(logits, images[:FIRST])
        return images, tf.constant(as_labels(y, num_classes, count=len(x))), num_classes
    check_type(x)
    labels = tf.convert_to_tensor(y)
    if labels.shape.rank != 1 or not labels.dtype.is_integer:
        raise InputError(f"labels in a graph must be integers [N]. Received: {labels.dtype.name} {labels.shape}")
    images = as_float(x)
    return images, tf.cast(labels, tf.int32), logits(images).shape[1]


def _num_classes(logits: Logits, images: tf.Tensor) -> int:
    first = logits(images)
    check_logits(first)
    return first.shape[1]


def _by_batches(
    stages: Stages,
    logits: Logits,
    images: np.ndarray,
    labels: np.ndarray,
    ball: Ball,
    seed: tf.Tensor,
    batch_size: int,
) -> np.ndarray:
    found, standing, steps = np.zeros(images.shape, np.float32), np.arange(len(images)), {}
    for attack, variant in stages:
        if attack not in steps:
            steps = {attack: _step(attack, logits, images, ball, seed)}
        fooled = [np.zeros(0, bool)]
        for begin in range(0, len(standing), batch_size):
            places = standing[begin : begin + batch_size]
            rows = (images[places], labels[places], places.astype(np.int32), np.int32(variant))
            adv, prediction = steps[attack](*map(tf.constant, rows))
            found[places] = adv
            fooled.append(prediction.numpy() != labels[places])
        standing = standing[~np.concatenate(fooled)]
    return found


def _step(attack: Any, logits: Logits, images: np.ndarray, ball: Ball, seed: tf.Tensor) -> Callable:
    integers = tf.TensorSpec([None], tf.int32)
    signature = [
        tf.TensorSpec([None, *images.shape[1:]], images.dtype),
        integers,
        integers,
        tf.TensorSpec([], tf.int32),
    ]

    def step(images: tf.Tensor, labels: tf.Tensor, indices: tf.Tensor, variant: tf.Tensor) -> tuple:
        adv = attack.perturb(logits, as_float(images), labels, ball=ball, indices=indices, seed=seed, variant=variant)
        return adv, tf.argmax(logits(adv), axis=1, output_type=tf.int32)

    # Traced here: TensorFlow would take the traces of several attacks for needless ones of a single function, and warn.
    return tf.function(step, autograph=False).get_concrete_function(*signature)
