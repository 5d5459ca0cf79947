"""What is asked of images, labels and outputs before any number is believed."""

import numpy as np
import tensorflow as tf

from agkd_tf.data.pixels import as_float, check_pixels
from agkd_tf.errors import InputError
from agkd_tf.models import logits_of

CHECKED = 8  # images whose logits are looked at before anything else
SUM_TOLERANCE = 1e-3
PROBABILITIES_TOLERANCE = 1e-2  # wider, for those of half precision


def check_classifier(logits, examples):
    """Checks a classifier's outputs of the first images, and all images and labels.

    Args:
        logits: a `keras.Model` or a callable, as `evaluate`.
        examples: `Examples`.

    Raises:
        InputError: as `check_logits` and `check_images`.
    """
    first = logits_of(logits)(as_float(tf.constant(examples.images[:CHECKED])))
    check_logits(first)
    check_images(examples.images, examples.labels, first.shape[1])


def check_logits(logits):
    """Checks a first batch of a classifier's outputs.

    Args:
        logits: float [B, n].

    Raises:
        InputError: if they are not a matrix of at least two classes, not finite, or probabilities.
    """
    logits = np.asarray(logits)
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise InputError(
            f"the classifier must return logits [B, n] with n of at least 2. Received: {list(logits.shape)}"
        )
    if not np.all(np.isfinite(logits)):
        bad = np.count_nonzero(~np.isfinite(logits).all(axis=1))
        raise InputError(f"the classifier's logits of {bad} of the first {len(logits)} images are NaN or infinite")
    sums = logits.sum(axis=1)
    if logits.min() >= 0 and np.all(np.abs(sums - 1) < SUM_TOLERANCE):
        raise InputError(
            "the classifier returns probabilities, which hide gradients; attacks need logits: remove the softmax "
            "(agkd_tf.models.remove_softmax), or evaluate agkd_tf.evaluation.logits_of_probabilities(model); of a "
            "SavedModel, tools.evaluate --probabilities"
        )


def check_probabilities(probabilities):
    """Checks a first batch of outputs that are said to be probabilities.

    Args:
        probabilities: float [B, n].

    Raises:
        InputError: if any lies outside [0, 1], or an image's do not sum to 1.
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


def check_images(images, labels, num_classes):
    """Checks float images and their labels.

    Args:
        images: uint8, or float, [N, H, W, C].
        labels: int [N].
        num_classes: number of classes of the classifier.

    Raises:
        InputError: for float images outside [0, 1] or not finite, or labels out of range.
    """
    check_pixels(images)
    if len(labels) and not (np.min(labels) >= 0 and np.max(labels) < num_classes):
        raise InputError(
            f"labels must be in [0, {num_classes - 1}], for {num_classes} logits. "
            f"Received: {np.min(labels)} to {np.max(labels)}"
        )
