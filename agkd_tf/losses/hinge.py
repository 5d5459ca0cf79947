"""A hinge on the margin between the true class and the best other one."""

import tensorflow as tf

from agkd_tf.logits import label_margin


def margin_hinge(logits: tf.Tensor, labels: tf.Tensor, *, confidence: float) -> tf.Tensor:
    """Returns mean max(0, max_{k != y} z_k - z_y + confidence), with z the logits.

    Args:
        logits: float32 [B, n].
        labels: int32 [B].
        confidence: kappa, the margin beyond which an image's loss is 0.

    Returns:
        float32 scalar.

    Source: Cheng et al., CAT: Customized Adversarial Training for Improved Robustness, IJCAI 2022 (the
    CW term of CAT-MIX).
    """
    return tf.reduce_mean(tf.nn.relu(confidence - label_margin(logits, labels)))
