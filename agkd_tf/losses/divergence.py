"""Kullback-Leibler divergence between two networks' predictions."""

import tensorflow as tf


def kl_divergence(clean_logits: tf.Tensor, adv_logits: tf.Tensor) -> tf.Tensor:
    """Returns KL(p_clean || p_adv) per image, float32 [B]. Gradients flow through both arguments.

    Args:
        clean_logits, adv_logits: float32 [B, n].

    Source: the second term of TRADES; Zhang et al., Theoretically Principled Trade-off between Robustness and
    Accuracy, ICML 2019, eq. 5, and its released code.
    """
    clean, adv = tf.nn.log_softmax(clean_logits), tf.nn.log_softmax(adv_logits)
    return tf.reduce_sum(tf.exp(clean) * (clean - adv), axis=1)
