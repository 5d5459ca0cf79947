"""Grad-CAM: the class-relevant attention map.

Source: Selvaraju et al., Grad-CAM, ICCV 2017.
"""

from collections.abc import Callable

import tensorflow as tf


def grad_cam(features: tf.Tensor, head: Callable[[tf.Tensor], tf.Tensor], classes: tf.Tensor) -> tf.Tensor:
    """Returns ReLU(sum_k a_k F_k), with a_k the mean over positions of dz_class / dF_k, found by a gradient tape.

    The weights a_k carry no gradient, so that distilling the map needs no second derivatives; the map's own gradient
    flows through F. The map is not normalised (see `normalize_map`). With mean pooling and one dense layer, a_k is
    W[k, class] / (h * w), and the map is the ReLU of the class activation map, divided by h * w.

    Args:
        features: F, float32 [B, h, w, K].
        head: callable: features -> logits z [B, n], each image independent of the others (see `Classifier.head`).
        classes: int32 [B].

    Returns:
        float32 [B, h, w], non-negative.
    """
    point = tf.stop_gradient(features)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(point)
        score = tf.reduce_sum(tf.gather(head(point), classes, batch_dims=1))
    weights = tf.stop_gradient(tf.reduce_mean(tape.gradient(score, point), axis=[1, 2]))
    return tf.nn.relu(tf.einsum("bhwk,bk->bhw", features, weights))
