"""The average of all classes' activation maps (CAM-avg)."""

import tensorflow as tf

from agkd_tf.attention.normalization import normalize_map


def class_average_map(features: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Returns N(mean_c N(sum_k W[k, c] F_k)), the average of the classes' normalised maps.

    Each class's map is normalised before averaging. Without this, the average would be the map of the mean weight,
    which a softmax loss never trains. The weights carry no gradient.

    Args:
        features: F, float32 [B, h, w, K].
        kernel: W, float32 [K, num_classes], the weights of the dense layer.

    Returns:
        float32 [B, h, w] in [0, 1].

    Source: AGKD-BML's supplement, Table 3; normalising each class first is this library's choice.
    """
    kernel = tf.stop_gradient(tf.cast(kernel, tf.float32))
    height, width, classes = features.shape[1], features.shape[2], kernel.shape[1]
    maps = tf.einsum("bhwk,kc->bchw", tf.cast(features, tf.float32), kernel)
    batch = tf.shape(features)[0]
    each = normalize_map(tf.reshape(maps, [batch * classes, height, width]))
    return normalize_map(tf.reduce_mean(tf.reshape(each, [batch, classes, height, width]), axis=1))


def mean_class_map(features: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Returns N(sum_k mean_c W[k, c] F_k), the average of the classes' maps without normalising each.

    The weights carry no gradient.

    Args:
        features: F, float32 [B, h, w, K].
        kernel: W, float32 [K, num_classes], the weights of the dense layer.

    Returns:
        float32 [B, h, w] in [0, 1].

    Source: AGKD-BML's supplement, Table 3, interpreted differently from `class_average_map`.
    """
    weights = tf.stop_gradient(tf.reduce_mean(tf.cast(kernel, tf.float32), axis=1))
    return normalize_map(tf.einsum("bhwk,k->bhw", tf.cast(features, tf.float32), weights))
