"""Adversarial weight perturbation (AWP): the weights near a student's own at which the loss is higher."""

from collections.abc import Sequence

import tensorflow as tf

KERNEL_RANK = 2  # least rank of what is perturbed: kernels, and neither biases nor BN's scales


def perturbed_weights(
    weights: Sequence[tf.Tensor], gradients: Sequence[tf.Tensor], gamma: float | tf.Tensor
) -> list[tf.Tensor]:
    """Returns the weights after a step up the gradient, whose length is relative to the weight's own.

        w + gamma * ||w|| * g / ||g||

    Norms are over a whole kernel, of a convolution or a dense layer. Other weights stay as they are, and so does a
    kernel whose gradient is exactly zero.

    Args:
        weights: tensors of any shapes.
        gradients: float32, the loss' gradient by each weight, in the same shapes.
        gamma: size of the step, relative to the weight: a number, or a float32 scalar.

    Source: Wu et al., Adversarial Weight Perturbation Helps Robust Generalization, NeurIPS 2020, eq. 10.
    """
    moved = []
    for weight, gradient in zip(weights, gradients, strict=True):
        if len(weight.shape) < KERNEL_RANK:
            moved.append(weight)
            continue
        # A gradient of loss scaling may be too large for its norm in float32: only its direction counts.
        direction = tf.math.divide_no_nan(gradient, tf.reduce_max(tf.abs(gradient)))
        direction = tf.math.divide_no_nan(direction, tf.norm(direction))
        moved.append(weight + tf.cast(gamma, weight.dtype) * tf.norm(weight) * tf.cast(direction, weight.dtype))
    return moved
