"""What an attack ascends: per-example functions of logits and labels, to be summed over the batch.

The sum, not the mean, so that an image's gradient does not depend on the size of its batch.
"""

import tensorflow as tf

MARGIN_CONFIDENCE = 50.0  # as in Madry, SML, FS, Bilateral and AGKD-BML; it never saturates


def cross_entropy(logits, labels):
    """Returns float32 [B], -log softmax(logits)[label].

    Args:
        logits: float32 [B, n].
        labels: int32 [B].
    """
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)


def targeted_cross_entropy(logits, targets):
    """Returns float32 [B], log softmax(logits)[target]: ascending it approaches the target."""
    return -cross_entropy(logits, targets)


def margin(logits, labels, *, confidence=MARGIN_CONFIDENCE):
    """Returns float32 [B], -max(0, z_label - max_{k != label} z_k + confidence).

    Source: Carlini and Wagner, Towards Evaluating the Robustness of Neural Networks, 2017, as the
    l_inf "CW" attack of Madry et al., 2018.
    """
    true = tf.gather(logits, labels, batch_dims=1)
    return -tf.nn.relu(true - best_other_logit(logits, labels) + confidence)


def targeted_margin(logits, targets, *, confidence=MARGIN_CONFIDENCE):
    """Returns float32 [B], -max(0, max_{k != target} z_k - z_target + confidence): ascending it approaches the target.

    Source: as `margin`.
    """
    target = tf.gather(logits, targets, batch_dims=1)
    return -tf.nn.relu(best_other_logit(logits, targets) - target + confidence)


def difference_of_logits_ratio(logits, labels):
    """Returns float32 [B], -(z_label - max_{k != label} z_k) / (z_(1) - z_(3) + 1e-12), with z_(i) sorted.

    Invariant to shifts and scales of the logits, unlike the cross-entropy. Needs 3 classes.

    Source: Croce and Hein, Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
    Parameter-free Attacks, ICML 2020, eq. 6.
    """
    ranked = tf.math.top_k(logits, 3).values
    true = tf.gather(logits, labels, batch_dims=1)
    return -(true - best_other_logit(logits, labels)) / (ranked[:, 0] - ranked[:, 2] + 1e-12)


def targeted_difference_of_logits_ratio(logits, labels, targets):
    """Returns float32 [B], -(z_label - z_target) / (z_(1) - (z_(3) + z_(4)) / 2 + 1e-12). Needs 4 classes.

    Source: as `difference_of_logits_ratio`, eq. 7.
    """
    ranked = tf.math.top_k(logits, 4).values
    true, target = (tf.gather(logits, classes, batch_dims=1) for classes in (labels, targets))
    return -(true - target) / (ranked[:, 0] - (ranked[:, 2] + ranked[:, 3]) / 2 + 1e-12)


def best_other_logit(logits, labels):
    """Returns float32 [B], max_{k != label} z_k."""
    return tf.reduce_max(mask_labels(logits, labels), axis=1)


def mask_labels(logits, labels):
    """Returns the logits with each label's own entry at the smallest float, below every other."""
    own = tf.one_hot(labels, tf.shape(logits)[1], on_value=True, off_value=False, dtype=tf.bool)
    low = logits.dtype.min  # halved for the others, so that even -inf stays above the label's own
    return tf.where(own, low, tf.maximum(logits, low / 2))


OBJECTIVES = {"cross_entropy": cross_entropy, "margin": margin}
TARGETED = {"cross_entropy": targeted_cross_entropy, "margin": targeted_margin}
