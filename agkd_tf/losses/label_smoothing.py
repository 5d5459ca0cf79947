"""Cross-entropy against a smoothed label."""

from collections.abc import Callable

import tensorflow as tf

from agkd_tf.errors import InputError


def check_label_smoothing(smoothing: float, num_classes: int, *, name: str = "label_smoothing") -> float:
    """Returns `smoothing` if the smoothed label still gives the true class the largest value.

    Raises:
        InputError: if it is negative, or at least (n - 1) / n: the true class would no longer be the largest.
    """
    bound = (num_classes - 1) / num_classes
    if not 0 <= smoothing < bound:
        raise InputError(
            f"`{name}` must be in [0, {bound:g}) with {num_classes} classes, "
            f"or the true class is no longer the largest. Received: {smoothing}"
        )
    return smoothing


def smoothed_cross_entropy(logits: tf.Tensor, labels: tf.Tensor, smoothing: float | tf.Tensor) -> tf.Tensor:
    """Returns the batch mean of -sum_k q_k log p_k, with q = 1 - s on the label and s / (n - 1) elsewhere.

    Soft labels y, mixtures of labels, are smoothed as these: q = (1 - s - s / (n - 1)) y + s / (n - 1).

    Keras' `label_smoothing` spreads over all n classes instead; a value of s here equals Keras' s * n / (n - 1).

    Args:
        logits: float32 [B, n].
        labels: int32 [B], or soft labels, float32 [B, n].
        smoothing: s, in [0, (n - 1) / n).

    Returns:
        float32 scalar.

    Source: Feature Scattering and AGKD-BML's released code (LS).
    """
    classes = logits.shape[-1]
    other = smoothing / (classes - 1)
    labels = tf.convert_to_tensor(labels)
    if labels.shape.rank == 2:
        return soft_cross_entropy(logits, (1.0 - smoothing - other) * labels + other)
    target = tf.one_hot(labels, classes, on_value=1.0 - smoothing, off_value=other)
    return soft_cross_entropy(logits, target)


def soft_objective(soft_labels: tf.Tensor) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns what an attack ascends on soft labels: logits [B, n] -> KL(y || p) per image, float32 [B].

    Args:
        soft_labels: y, float32 [B, n]; each row sums to 1.

    Source: Rebuffi et al., Data Augmentation Can Improve Robustness, NeurIPS 2021.
    """
    entropy = -tf.reduce_sum(tf.math.xlogy(soft_labels, soft_labels), axis=1)
    return lambda logits: tf.nn.softmax_cross_entropy_with_logits(labels=soft_labels, logits=logits) - entropy


def soft_cross_entropy(logits: tf.Tensor, soft_labels: tf.Tensor) -> tf.Tensor:
    """Returns the batch mean of -sum_k q_k log p_k.

    Args:
        logits: float32 [B, n].
        soft_labels: q, float32 [B, n]; each row sums to 1.

    Returns:
        float32 scalar.
    """
    return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels=soft_labels, logits=logits))
