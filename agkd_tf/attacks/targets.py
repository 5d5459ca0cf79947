"""Target classes that are drawn at random."""

import tensorflow as tf

from agkd_tf.randomness import uniform_integers, uniform_per_example


def random_other_class(labels: tf.Tensor, num_classes: int, seed: tf.Tensor) -> tf.Tensor:
    """Returns int32 [B]: for each label, a class drawn uniformly from all others.

    Args:
        labels: int32 [B].
        num_classes: at least 2.
        seed: int32 [2].
    """
    offset = 1 + uniform_integers(tf.shape(labels), seed, num_classes - 1)
    return (labels + offset) % num_classes


def random_other_class_per_example(
    labels: tf.Tensor, num_classes: int, indices: tf.Tensor, seed: tf.Tensor
) -> tf.Tensor:
    """Returns classes as `random_other_class` does, but each depends only on `seed` and on its own index.

    Args:
        labels: int32 [B].
        num_classes: at least 2.
        indices: int32 [B], each example's index in the data set.
        seed: int32 [2].
    """
    unit = uniform_per_example(indices, (), seed)
    offset = tf.minimum(tf.cast(unit * (num_classes - 1), tf.int32), num_classes - 2)
    return (labels + 1 + offset) % num_classes
