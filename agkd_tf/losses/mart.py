"""The two terms that MART adds to cross-entropy on adversarial examples.

Source: Wang et al., Improving Adversarial Robustness Requires Revisiting Misclassified Examples,
ICLR 2020, eq. 11; constants of its released code. Gradients flow through every factor.
"""

import tensorflow as tf

from agkd_tf.logits import most_confusing_class
from agkd_tf.losses.divergence import kl_divergence


def boosted_margin(adv_logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns mean -log(1.0001 - p_adv[j]), with j the most probable class other than the label.

    It is computed as -log(1e-4 + the sum of p_adv over all classes but j), which is the same, and loses no digits where
    p_adv[j] is close to 1.

    Args:
        adv_logits: float32 [B, n].
        labels: int32 [B].

    Returns:
        float32 scalar.
    """
    best = tf.one_hot(most_confusing_class(adv_logits, labels), tf.shape(adv_logits)[1], dtype=adv_logits.dtype)
    others = tf.reduce_sum((1.0 - best) * tf.nn.softmax(adv_logits), axis=1)
    return -tf.reduce_mean(tf.math.log(1e-4 + others))


def weighted_divergence(clean_logits: tf.Tensor, adv_logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns mean (1.0000001 - p_clean[label]) * KL(p_clean || p_adv).

    Args:
        clean_logits, adv_logits: float32 [B, n].
        labels: int32 [B].

    Returns:
        float32 scalar.
    """
    confidence = tf.exp(tf.gather(tf.nn.log_softmax(clean_logits), labels, batch_dims=1))
    return tf.reduce_mean((1.0000001 - confidence) * kl_divergence(clean_logits, adv_logits))
