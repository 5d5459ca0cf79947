"""Checks of images, labels, outputs and gradients before an evaluation trusts any number."""

import math
import warnings

import keras
import numpy as np
import tensorflow as tf

from agkd_tf.attacks import AttackSequence
from agkd_tf.attacks.objectives import cross_entropy
from agkd_tf.attacks.pgd import input_gradient
from agkd_tf.data.image_dataset import Examples, ImagesOnDisk
from agkd_tf.data.labels import as_labels
from agkd_tf.data.pixels import as_float, check_pixels
from agkd_tf.errors import InputError, Note
from agkd_tf.logits import check_logits, label_margin
from agkd_tf.models import logits_of
from agkd_tf.types import Array, Logits

CHECKED = 8  # number of images whose logits are checked before anything else
COUNTED = (20, 100)  # least and greatest number of clean images on which the accuracy is compared with chance
PROBABILITIES_TOLERANCE = 1e-2  # wide enough for probabilities in half precision
RANDOM_TOLERANCE = 1e-4  # relative to the largest logit: a larger difference is not rounding


def check_classifier(logits: keras.Model | Logits, examples: Examples) -> tf.Tensor:
    """Checks all images and labels, and the logits of the first `CHECKED` images; returns these logits.

    Args:
        logits: a `keras.Model` or a callable, as for `run_attack`.
        examples: `Examples`.

    Raises:
        InputError: see `check_logits` and `check_images`.
    """
    check_pixels(examples.images)  # first, since bad pixels also lead to bad logits
    first = logits_of(logits)(as_float(tf.constant(examples.images[:CHECKED])))
    check_logits(first)
    as_labels(examples.labels, first.shape[1], count=len(examples.images))
    return first


def check_answers(logits: Logits, examples: Examples, attack: AttackSequence, first: tf.Tensor) -> bool:
    """Warns if a classifier's outputs make the accuracy under an attack less meaningful than it seems.

    On the first `CHECKED` images, it checks whether two passes give the same logits, and whether the gradients that
    the attack follows are exactly zero for most of them. On the first hundred clean images, it checks whether the
    accuracy is better than chance.

    Args:
        logits, examples: as for `check_classifier`.
        attack: `agkd_tf.attacks.AttackSequence`.
        first: what `check_classifier` returned.

    Returns:
        Whether two passes give the same logits.

    Warns:
        Note: if the logits are random and the attack does not average over passes, if most gradients are zero, or if
            the clean accuracy is no better than chance; the last note also states the accuracy with pixels in 0..255.

    Raises:
        InputError: if the attack follows gradients and the classifier is not differentiable.
    """
    images = as_float(tf.constant(examples.images[:CHECKED]))
    labels = tf.constant(examples.labels[:CHECKED], tf.int32)
    averaging = any(getattr(part, "passes", 1) > 1 for part in attack.attacks)
    repeats = not random_difference(first, logits(images))
    if not averaging and not repeats:
        warnings.warn(
            f"two passes over the same {len(images)} images give different logits, so the attack follows other "
            "gradients than those of the pass that is judged. Judge by autoattack-rand, which averages over 20 passes, "
            "or remove the random layers",
            Note,
            stacklevel=3,
        )
    _tell_of_chance(logits, examples)
    climbed = [found for part in attack.attacks if (found := part.climbed(logits)) is not None]
    zero = [int(zero_gradients(each, images, labels, saturating=by)) for each, by in dict.fromkeys(climbed)]
    if zero and min(zero) > len(images) / 2:
        warnings.warn(
            "the gradient with respect to the image is exactly zero for "
            f"{min(zero)} of the first {len(images)} images: a gradient attack has no direction to follow, and the "
            "accuracy under it says little. Judge by autoattack or square, remove the operation that rounds, casts to "
            "integers or saturates, or run an audit (agkd_tf.audit, or --audit)",
            Note,
            stacklevel=3,
        )
    return repeats


def _tell_of_chance(logits: Logits, examples: Examples) -> None:
    count = min(len(examples), COUNTED[1])
    if count < COUNTED[0]:
        return
    images, labels = as_float(tf.constant(examples.images[:count])), np.asarray(examples.labels[:count])
    scores = np.asarray(logits(images))
    right, chance = np.count_nonzero(scores.argmax(1) == labels), 1 / scores.shape[1]
    guessed = count * chance + 2 * math.sqrt(count * chance * (1 - chance))  # two deviations above the mean
    if right > guessed:
        return
    other = np.count_nonzero(np.asarray(logits(255 * images)).argmax(1) == labels)
    remedy = ": `agkd_tf.adapt(model, pixel_range=(0, 255))`" if other > guessed else ""
    warnings.warn(
        f"{right} of the first {count} clean images are classified correctly, which is no better than chance with "
        f"{scores.shape[1]} classes; with pixels in 0..255, it would be {other}{remedy}",
        Note,
        stacklevel=4,
    )


def zero_gradients(
    logits: keras.Model | Logits, images: tf.Tensor, labels: tf.Tensor, *, saturating: bool = True
) -> tf.Tensor:
    """Counts the images for which the loss's gradient with respect to the image is exactly zero; returns int64.

    Args:
        logits: a `keras.Model` or a callable, as for `run_attack`.
        images: float32 [B, H, W, C].
        labels: int32 [B].
        saturating: True for the gradient of the cross-entropy, which vanishes where a probability has been rounded to
            1; False for that of the margin between the label's logit and the largest other logit, which does not.

    Raises:
        InputError: if the classifier is not differentiable.
    """
    logits = logits_of(logits)

    def loss(images: tf.Tensor) -> tf.Tensor:
        scores = tf.cast(logits(images), tf.float32)
        if saturating:
            return cross_entropy(scores, labels)
        return label_margin(scores, labels)

    try:
        gradient = input_gradient(loss, images)
    except LookupError as error:
        reason = " ".join(str(error).split()).partition(". ")[0]
        raise InputError(
            f"the classifier is not differentiable: {reason}; square needs no gradient: `attacks=['clean', 'square']`"
        ) from error
    return tf.math.count_nonzero(~tf.reduce_any(gradient != 0, axis=[1, 2, 3]))


def random_difference(first: Array, second: Array) -> float:
    """Returns the largest difference between the logits of two passes, float [B, n]; 0 if it is only rounding."""
    first, second = np.asarray(first), np.asarray(second)
    difference = float(np.abs(first - second).max())
    return difference if difference > RANDOM_TOLERANCE * max(1.0, float(np.abs(first).max())) else 0.0


def check_probabilities(probabilities: Array) -> None:
    """Checks that a batch of outputs are probabilities.

    Args:
        probabilities: float [B, n].

    Raises:
        InputError: if any lies outside [0, 1], or they do not sum to 1 for each image.
    """
    probabilities = np.asarray(probabilities, np.float32)
    low, high, sums = probabilities.min(), probabilities.max(), probabilities.sum(axis=-1)
    # NaN fails all three.
    fit = low >= -PROBABILITIES_TOLERANCE and high <= 1 + PROBABILITIES_TOLERANCE
    if not (fit and np.all(np.abs(sums - 1) <= PROBABILITIES_TOLERANCE)):
        raise InputError(
            "`probabilities` must be in [0, 1] and sum to 1 for each image; are these logits? "
            f"Received: {low:g} to {high:g}, sums {sums.min():g} to {sums.max():g}"
        )


def check_images(images: np.ndarray | ImagesOnDisk, labels: Array, num_classes: int) -> None:
    """Checks float images and their labels.

    Args:
        images: uint8, or float, [N, H, W, C].
        labels: int [N].
        num_classes: number of classes of the classifier.

    Raises:
        InputError: if float images are outside [0, 1] or not finite, images have another dtype, or labels are out of
            range.
    """
    check_pixels(images)
    as_labels(labels, num_classes, count=len(images))
