"""A hinge on the margin between the true class and the best other one."""

import tensorflow as tf

from agkd_tf.attacks.objectives import best_other_logit


def margin_hinge(logits, labels, *, confidence):
    """Returns mean max(0, max_{k != y} z_k - z_y + confidence), on logits.

    Args:
        logits: float32 [B, n].
        labels: int32 [B].
        confidence: kappa, the margin that is asked for.

    Returns:
        float32 scalar.

    Source: Cheng et al., CAT: Customized Adversarial Training for Improved Robustness, IJCAI 2022 (the
    CW term of CAT-MIX).
    """
    true = tf.gather(logits, labels, batch_dims=1)
    return tf.reduce_mean(tf.nn.relu(best_other_logit(logits, labels) - true + confidence))
