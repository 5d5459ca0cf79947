"""Functions of logits that losses and attacks share: margins, the most confusing class, ratios of differences.

Each result depends on one image's logits only; the caller sums or averages over images.
`check_logits` checks whether numbers are logits at all.
"""

import numpy as np
import tensorflow as tf

from agkd_tf.errors import InputError
from agkd_tf.types import Array

SUM_TOLERANCE = 1e-3  # how far the sum of an image's probabilities may be from 1


def mask_labels(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns the logits, float32 [B, n], with each label's own entry set to the smallest float, below all others.

    Args:
        logits: float32 [B, n].
        labels: int32 [B].
    """
    own = tf.one_hot(labels, tf.shape(logits)[1], on_value=True, off_value=False, dtype=tf.bool)
    low = logits.dtype.min  # the others are raised to low / 2 at least, so that even -inf stays above it
    return tf.where(own, low, tf.maximum(logits, low / 2))


def best_other_logit(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns max_{k != label} z_k, float32 [B]; see `mask_labels` for the arguments."""
    return tf.reduce_max(mask_labels(logits, labels), axis=1)


def label_margin(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns z_label - max_{k != label} z_k, float32 [B]: below 0 if an image is misclassified.

    Args:
        logits: float32 [B, n].
        labels: int32 [B].
    """
    return tf.gather(logits, labels, batch_dims=1) - best_other_logit(logits, labels)


def most_confusing_class(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns argmax_{k != label} z_k, int32 [B], which is never the label.

    Args:
        logits: float32 [B, n].
        labels: int32 [B].

    Source: Wang and Zhang, Bilateral Adversarial Training, ICCV 2019; AGKD-BML (ICCV 2021).
    """
    return tf.argmax(mask_labels(logits, labels), axis=1, output_type=tf.int32)


def ranked_other_class(logits: tf.Tensor, labels: tf.Tensor, rank: int | tf.Tensor) -> tf.Tensor:
    """Returns the class with the rank-th largest logit among all classes but the label, int32 [B].

    Args:
        logits: float32 [B, n].
        labels: int32 [B].
        rank: integer in [1, n - 1], as a Python int or a tensor; 1 is the largest.
    """
    order = tf.argsort(mask_labels(logits, labels), axis=1, direction="DESCENDING", stable=True)
    return tf.gather(order, rank - 1, axis=1)


def nearest_boundary_class(logits: tf.Tensor, labels: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Returns the class whose decision boundary is nearest to the embedding (MOSA), int32 [B].

    This is the argmin of (z_y - z_k) / ||w_y - w_k|| over the classes k with z_y - z_k > 1e-4. If there is no such
    class, it is the most confusing class.

    Args:
        logits: float32 [B, n].
        labels: int32 [B].
        kernel: float32 [K, n], the weights of the last dense layer.

    Source: Wang and Zhang, Bilateral Adversarial Training, ICCV 2019 (most one-step attack).
    """
    weights = tf.transpose(tf.cast(kernel, tf.float32))
    spread = tf.norm(tf.gather(weights, labels)[:, None, :] - weights[None, :, :], axis=2)
    gap = tf.gather(logits, labels, batch_dims=1)[:, None] - logits
    distance = tf.where(gap > 1e-4, gap / tf.maximum(spread, 1e-12), logits.dtype.max)
    nearest = tf.argmin(distance, axis=1, output_type=tf.int32)
    found = tf.reduce_any(gap > 1e-4, axis=1)
    return tf.where(found, nearest, most_confusing_class(logits, labels))


def difference_of_logits_ratio(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns -(z_label - max_{k != label} z_k) / (z_(1) - z_(3) + 1e-12), float32 [B], with z_(i) sorted descending.

    Unlike cross-entropy, it is invariant to shifting and scaling the logits. Needs at least 3 classes.

    Args:
        logits: float32 [B, n].
        labels: int32 [B].

    Source: Croce and Hein, Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
    Parameter-free Attacks, ICML 2020, eq. 6.
    """
    ranked = tf.math.top_k(logits, 3).values
    return -label_margin(logits, labels) / (ranked[:, 0] - ranked[:, 2] + 1e-12)


def targeted_difference_of_logits_ratio(logits: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Returns -(z_label - z_target) / (z_(1) - (z_(3) + z_(4)) / 2 + 1e-12), float32 [B]. Needs at least 4 classes.

    Args:
        logits: float32 [B, n].
        labels, targets: int32 [B].

    Source: as for `difference_of_logits_ratio`, eq. 7.
    """
    ranked = tf.math.top_k(logits, 4).values
    true, target = (tf.gather(logits, classes, batch_dims=1) for classes in (labels, targets))
    return -(true - target) / (ranked[:, 0] - (ranked[:, 2] + ranked[:, 3]) / 2 + 1e-12)


def check_logits(logits: Array) -> None:
    """Checks the outputs of a classifier for its first batch.

    Args:
        logits: float [B, n].

    Raises:
        InputError: if they are not a matrix with at least two classes, are not finite, or are probabilities.
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
            "(agkd_tf.models.remove_softmax), or evaluate agkd_tf.evaluation.logits_of_probabilities(model); for a "
            "SavedModel, give `probabilities=True`"
        )
