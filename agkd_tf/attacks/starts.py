"""Random starts of evaluation attacks: functions of the seed and of an example's index."""

import math

import tensorflow as tf

from agkd_tf.randomness import named_seed, normal_per_example, uniform_per_example


def ball_per_example(indices, shape, seed, eps, norm="linf"):
    """Returns displacements that are uniform in the ball, float32 [B, *shape].

    Args:
        indices: int32 [B], the examples' places in the data set.
        shape: (H, W, C).
        seed: int32 [2].
        eps: radius.
        norm: linf or l2.
    """
    if norm == "linf":
        return uniform_per_example(indices, shape, seed, -eps, eps)
    radius = uniform_per_example(indices, (1, 1, 1), named_seed(seed, "radius")) ** (1.0 / math.prod(shape))
    return eps * radius * _unit(normal_per_example(indices, shape, seed))


def edge_per_example(indices, shape, seed, eps, norm="linf"):
    """Returns displacements of length eps in a random direction, float32 [B, *shape].

    For l_inf the direction is uniform in the cube and then stretched to its edge, as Auto-PGD starts.
    """
    if norm == "linf":
        drawn = uniform_per_example(indices, shape, seed, -1.0, 1.0)
        return eps * drawn / tf.reduce_max(tf.abs(drawn), axis=[1, 2, 3], keepdims=True)
    return eps * _unit(normal_per_example(indices, shape, seed))


def _unit(vectors):
    return tf.math.l2_normalize(vectors, axis=[1, 2, 3])
