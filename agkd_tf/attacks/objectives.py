"""Objectives that attacks ascend: per-example functions of logits and labels, to be summed over the batch.

They are summed, not averaged, so that an image's gradient does not depend on the batch size.
"""

from collections.abc import Callable, Mapping

import tensorflow as tf

from agkd_tf.logits import best_other_logit, label_margin

MARGIN_CONFIDENCE = 50.0  # as in Madry, SML, FS, Bilateral and AGKD-BML; with it, the margin never saturates


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns float32 [B], -log softmax(logits)[label].

    Args:
        logits: float32 [B, n].
        labels: int32 [B].
    """
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)


def targeted_cross_entropy(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Returns float32 [B], log softmax(logits)[target]: ascending it approaches the target."""
    return -cross_entropy(logits, targets)


def margin(logits: tf.Tensor, labels: tf.Tensor, *, confidence: float = MARGIN_CONFIDENCE) -> tf.Tensor:
    """Returns float32 [B], -max(0, z_label - max_{k != label} z_k + confidence).

    Source: Carlini and Wagner, Towards Evaluating the Robustness of Neural Networks, 2017, as the
    l_inf "CW" attack of Madry et al., 2018.
    """
    return -tf.nn.relu(label_margin(logits, labels) + confidence)


def probability_margin(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns float32 [B], max_{k != label} p_k - p_label with p = softmax(logits): above 0 if misclassified.

    Its gradient vanishes where the softmax saturates: judge by it only beside an attack on logits.

    Source: PMA, the probability margin attack (Towards Evaluating Adversarial Robustness with a Probability Margin
    Attack, 2024).
    """
    return -label_margin(tf.nn.softmax(logits), labels)


def targeted_margin(logits: tf.Tensor, targets: tf.Tensor, *, confidence: float = MARGIN_CONFIDENCE) -> tf.Tensor:
    """Returns float32 [B], -max(0, max_{k != target} z_k - z_target + confidence): ascending it approaches the target.

    Source: as `margin`.
    """
    target = tf.gather(logits, targets, batch_dims=1)
    return -tf.nn.relu(best_other_logit(logits, targets) - target + confidence)


OBJECTIVES: Mapping[str, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "cross_entropy": cross_entropy,
    "margin": margin,
}
TARGETED: Mapping[str, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "cross_entropy": targeted_cross_entropy,
    "margin": targeted_margin,
}
