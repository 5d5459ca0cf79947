"""The class-irrelevant attention map that AGKD-BML distils."""

import tensorflow as tf

from agkd_tf.attention.normalization import normalize_map


def class_irrelevant_map(features: tf.Tensor) -> tf.Tensor:
    """Returns N(sum_k F_k), which shows where the network looks, regardless of class.

    Args:
        features: float32 [B, h, w, K].

    Returns:
        float32 [B, h, w] in [0, 1].

    Source: AGKD-BML, ICCV 2021, the class-irrelevant map.
    """
    return normalize_map(tf.reduce_sum(features, axis=-1))
