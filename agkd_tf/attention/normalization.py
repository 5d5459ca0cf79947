"""Scales attention maps to [0, 1], per image."""

import tensorflow as tf

GUARD = 1e-8  # a constant map becomes zeros, not 0/0


def normalize_map(maps: tf.Tensor) -> tf.Tensor:
    """Returns N(M) = (M - min M) / max(max M - min M, 1e-8), per image.

    Gradients also flow through the minimum and the maximum.

    Args:
        maps: float32 [B, h, w].

    Returns:
        float32 [B, h, w] in [0, 1].

    Source: AGKD-BML's released `attention_map`, with an added guard against division by zero.
    """
    low = tf.reduce_min(maps, axis=[1, 2], keepdims=True)
    high = tf.reduce_max(maps, axis=[1, 2], keepdims=True)
    return (maps - low) / tf.maximum(high - low, GUARD)
