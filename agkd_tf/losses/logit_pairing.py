"""Losses that pair a network's outputs for a clean image and its adversarial example."""

import tensorflow as tf


def logit_pairing(clean_logits: tf.Tensor, adv_logits: tf.Tensor) -> tf.Tensor:
    """Returns the mean of (z_clean - z_adv)^2 over the batch and the classes.

    Gradients flow through both arguments.

    Args:
        clean_logits, adv_logits: float32 [B, n].

    Returns:
        float32 scalar.

    Source: Kannan et al., Adversarial Logit Pairing, 2018.
    """
    return tf.reduce_mean(tf.square(clean_logits - adv_logits))


def embedding_pairing(clean: tf.Tensor, adv: tf.Tensor) -> tf.Tensor:
    """Returns the batch mean of ||h_clean - h_adv||^2, summed over the features.

    Args:
        clean, adv: float32 [B, K].

    Returns:
        float32 scalar.

    Source: the `match_l2` term of SML's released code.
    """
    return tf.reduce_mean(tf.reduce_sum(tf.square(clean - adv), axis=1))
