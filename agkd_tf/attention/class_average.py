"""The average of all classes' activation maps (CAM-avg)."""

import tensorflow as tf

from agkd_tf.attention.normalization import normalize_map


def class_average_map(features: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Returns N(mean_c N(sum_k W[k, c] F_k)).

    Each class is normalised before the mean: the mean of the raw maps is the map of the mean weight,
    which a softmax loss never trains. The weights carry no gradient.

    Args:
        features: float32 [B, h, w, K].
        kernel: float32 [K, num_classes], the dense layer's.

    Returns:
        float32 [B, h, w] in [0, 1].

    Source: AGKD-BML's supplement, Table 3; that classes are normalised first is a choice here.
    """
    kernel = tf.stop_gradient(tf.cast(kernel, tf.float32))
    height, width, classes = features.shape[1], features.shape[2], kernel.shape[1]
    maps = tf.einsum("bhwk,kc->bchw", tf.cast(features, tf.float32), kernel)
    batch = tf.shape(features)[0]
    each = normalize_map(tf.reshape(maps, [batch * classes, height, width]))
    return normalize_map(tf.reduce_mean(tf.reshape(each, [batch, classes, height, width]), axis=1))


def mean_class_map(features: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Returns N(sum_k mean_c W[k, c] F_k), the average of the classes' maps as they are.

    The weights carry no gradient.

    Args:
        features: float32 [B, h, w, K].
        kernel: float32 [K, num_classes], the dense layer's.

    Returns:
        float32 [B, h, w] in [0, 1].

    Source: AGKD-BML's supplement, Table 3, read the other way than `class_average_map`.
    """
    weights = tf.stop_gradient(tf.reduce_mean(tf.cast(kernel, tf.float32), axis=1))
    return normalize_map(tf.einsum("bhwk,k->bhw", tf.cast(features, tf.float32), weights))
