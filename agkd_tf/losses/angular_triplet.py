"""The metric loss of BML: a triplet loss with angular distance, and a penalty on the embeddings' norm."""

import tensorflow as tf


def angular_distance(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Returns d(a, b) = 1 - |cos(a, b)| per row.

    Args:
        a, b: float32 [B, K]; a row of zeros has cosine 0 with everything.

    Returns:
        float32 [B] in [0, 1].

    Source: Mao et al., Metric Learning for Adversarial Robustness, 2019 (SML); AGKD-BML, ICCV 2021.
    """
    cosine = tf.reduce_sum(_unit(a) * _unit(b), axis=-1)
    return 1.0 - tf.minimum(tf.abs(cosine), 1.0)


def angular_triplet(anchor: tf.Tensor, positive: tf.Tensor, negative: tf.Tensor, *, margin: float) -> tf.Tensor:
    """Returns mean max(0, margin + d(anchor, positive) - d(anchor, negative)).

    In BML the anchor is the forward adversarial example, the positive its clean image, and the negative the
    backward adversarial example. Gradients flow through all three.

    Args:
        anchor, positive, negative: float32 [B, K].
        margin: non-negative float; 0.03 in the paper's released code.

    Returns:
        float32 scalar.
    """
    difference = angular_distance(anchor, positive) - angular_distance(anchor, negative)
    return tf.reduce_mean(tf.nn.relu(margin + difference))


def embedding_norm(*embeddings: tf.Tensor) -> tf.Tensor:
    """Returns the sum of mean(h^2) over its arguments; each mean is over the batch and the features.

    Args:
        embeddings: float32 [B, K] each.

    Returns:
        float32 scalar. The mean, as in the released code, is K times less than the squared norm.
    """
    return tf.add_n([tf.reduce_mean(tf.square(embedding)) for embedding in embeddings])


def _unit(rows: tf.Tensor) -> tf.Tensor:
    return tf.math.l2_normalize(rows, axis=-1, epsilon=1e-12)
