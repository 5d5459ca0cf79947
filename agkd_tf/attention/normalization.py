"""Attention maps scaled to [0, 1], image by image."""

import tensorflow as tf

GUARD = 1e-8  # a constant map becomes zeros, not 0/0


def normalize_map(maps: tf.Tensor) -> tf.Tensor:
    """Returns N(M) = (M - min M) / max(max M - min M, 1e-8), per image.

    The gradient flows through the minimum and the maximum too.

    Args:
        maps: float32 [B, h, w].

    Returns:
        float32 [B, h, w] in [0, 1].

    Source: AGKD-BML's released `attention_map`, with a guard that it lacks.
    """
    low = tf.reduce_min(maps, axis=[1, 2], keepdims=True)
    high = tf.reduce_max(maps, axis=[1, 2], keepdims=True)
    return (maps - low) / tf.maximum(high - low, GUARD)
