"""BN as one operation, on the weights of Keras' own layers."""

from collections.abc import Callable

import keras
import tensorflow as tf

# In the names of BN's operations that are not named after it otherwise, by which a profile knows them.
SCOPE = "frozen_batch_normalization"


def fused(operation: keras.Operation, training: bool) -> Callable[[tf.Tensor], tf.Tensor] | None:
    """Returns a layer's pass as one operation on the layer's own weights, or None where it has none.

    Keras normalises with several elementwise operations, in training mode after those that find mean and variance.
    The results are the same but for rounding, moving statistics among them, and saved models hold Keras' own layers.
    Synchronised BN, BN of anything but the last axis of images, and BN in float64 run as Keras runs them.

    Args:
        operation: a Keras layer or operation.
        training: whether BN takes the batch's statistics and moves its own.

    Returns:
        A callable, maps [B, h, w, K] -> the same normalised, or None.
    """
    if not _can_be_fused(operation):
        return None
    normalize = _by_batch if training and operation.trainable else _by_moving_statistics
    return lambda maps: normalize(operation, tf.cast(maps, operation.compute_dtype))


def _can_be_fused(operation: keras.Operation) -> bool:
    return (
        type(operation) is keras.layers.BatchNormalization
        and operation.input_spec.ndim == 4
        and operation.compute_dtype != "float64"  # TensorFlow has none of that
        and operation.axis in (3, -1)
        and operation.center
        and operation.scale
        and not operation.synchronized
        and not getattr(operation, "renorm", False)
    )


def _by_batch(layer: keras.layers.BatchNormalization, maps: tf.Tensor) -> tf.Tensor:
    normalized, mean, variance = tf.compat.v1.nn.fused_batch_norm(
        maps, layer.gamma, layer.beta, epsilon=layer.epsilon, is_training=True
    )
    # TensorFlow gives the unbiased variance, Keras keeps the biased one.
    count = tf.cast(tf.size(maps) / tf.shape(maps)[-1], tf.float32)
    for moving, batch in ((layer.moving_mean, mean), (layer.moving_variance, variance * (count - 1) / count)):
        moving.assign(moving * layer.momentum + batch * (1.0 - layer.momentum))
    return normalized


def _by_moving_statistics(layer: keras.layers.BatchNormalization, maps: tf.Tensor) -> tf.Tensor:
    @tf.custom_gradient
    def normalize(
        maps: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor | None, ...]]]:
        normalized, *_ = tf.compat.v1.nn.fused_batch_norm(
            maps, gamma, beta, mean, variance, epsilon=layer.epsilon, is_training=False
        )

        # TensorFlow's own gradient always finds those of gamma and beta, too, which attacks have no use for; what is
        # not used of these is not computed.
        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor | None, ...]:
            with tf.name_scope(SCOPE):
                deviation = tf.math.rsqrt(variance + layer.epsilon)
                precise = tf.cast(upstream, tf.float32)
                centered = tf.cast(maps, tf.float32) - mean
                by_gamma = tf.reduce_sum(precise * centered, [0, 1, 2]) * deviation
                by_beta = tf.reduce_sum(precise, [0, 1, 2])
                return upstream * tf.cast(gamma * deviation, upstream.dtype), by_gamma, by_beta, None, None

        return normalized, gradient

    weights = (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance)
    return normalize(maps, *(tf.convert_to_tensor(weight) for weight in weights))
