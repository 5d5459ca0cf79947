"""Runs Keras' batch normalisation (BN) layers as one fused operation on their own weights."""

from collections.abc import Callable

import keras
import tensorflow as tf

# Scope of operations of BN whose names do not show it otherwise; profiles recognise them by this name.
SCOPE = "frozen_batch_normalization"


def fused(operation: keras.Operation, training: bool) -> Callable[[tf.Tensor], tf.Tensor] | None:
    """Returns a BN layer's pass as one operation on the layer's own weights, or None if it cannot be fused.

    Keras normalises with several elementwise operations, and in training mode first computes mean and variance with
    others. The fused results, including the moving statistics, are the same except for rounding, and saved models
    contain Keras' own layers. Synchronised BN, BN over anything but the last axis of images, and BN in float64 are
    left to Keras.

    Args:
        operation: a Keras layer or operation.
        training: whether BN normalises by the batch's statistics and updates its moving statistics.

    Returns:
        A callable from maps [B, h, w, K] to the normalised maps, or None.
    """
    if not _can_be_fused(operation):
        return None
    normalize = _by_batch if training and operation.trainable else _by_moving_statistics
    return lambda maps: normalize(operation, tf.cast(maps, operation.compute_dtype))


def _can_be_fused(operation: keras.Operation) -> bool:
    return (
        type(operation) is keras.layers.BatchNormalization
        and operation.input_spec.ndim == 4
        and operation.compute_dtype != "float64"  # TensorFlow has no fused operation for it
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
    # TensorFlow returns the unbiased variance; Keras keeps the biased one.
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

        # TensorFlow's own gradient always computes those of gamma and beta too, which attacks do not need. Here,
        # unused gradients are pruned from the graph.
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
