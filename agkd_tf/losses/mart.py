"""The two terms that MART adds to cross-entropy on adversarial examples.

Source: Wang et al., Improving Adversarial Robustness Requires Revisiting Misclassified Examples,
ICLR 2020, eq. 11; constants of its released code. Gradients flow through every factor.
"""

import tensorflow as tf

from agkd_tf.logits import best_other_logit
from agkd_tf.losses.divergence import kl_divergence


def boosted_margin(adv_logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns mean -log(1.0001 - p_adv[j]), with j the most probable class other than the label.

    Args:
        adv_logits: float32 [B, n].
        labels: int32 [B].

    Returns:
        float32 scalar.
    """
    log_normalizer = tf.reduce_logsumexp(adv_logits, axis=1)
    other = tf.exp(best_other_logit(adv_logits, labels) - log_normalizer)
    return -tf.reduce_mean(tf.math.log(1.0001 - other))


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
