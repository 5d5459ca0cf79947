"""The adversarial label of Bilateral Adversarial Training."""

import tensorflow as tf

FLOOR = 1e-8


def adversarial_label(
    clean_logits: tf.Tensor, labels: tf.Tensor, *, ratio: float = 9.0, gap: float = 0.01
) -> tf.Tensor:
    """Returns the soft label q that is worst for a network, with q_y equal to `ratio` times the largest other entry.

    With p the clean prediction, v_k = -log(p_k + 1e-8), and m, M the least and largest v_k over k != y:

        D = sum_{k != y} v_k - (n - 1) (m - gap),  e = 1 / (1 + ratio (M - m + gap) / D)
        q_k = (e / D) (v_k - m + gap) for k != y,  q_y = 1 - e

    The class that the network confuses most with y gets the least mass. q sums to 1.

    Args:
        clean_logits: float32 [B, n], in inference mode.
        labels: int32 [B], y.
        ratio: beta; with at least 1, the true class stays the largest.
        gap: gamma, greater than 0; keeps the mass of the most confusing class above 0.

    Returns:
        float32 [B, n], without gradient.

    Source: Wang and Zhang, Bilateral Adversarial Training, ICCV 2019, and its released code.
    """
    classes = clean_logits.shape[-1]
    own = tf.one_hot(labels, classes, on_value=True, off_value=False, dtype=tf.bool)
    values = -tf.math.log(tf.nn.softmax(clean_logits) + FLOOR)
    least = tf.reduce_min(tf.where(own, values.dtype.max, values), axis=1, keepdims=True)
    largest = tf.reduce_max(tf.where(own, values.dtype.min, values), axis=1, keepdims=True)
    shifted = tf.where(own, 0.0, values - least + gap)
    total = tf.reduce_sum(shifted, axis=1, keepdims=True)
    mass = 1.0 / (1.0 + ratio * (largest - least + gap) / total)
    return tf.stop_gradient(tf.where(own, 1.0 - mass, mass * shifted / total))
