"""The shortest displacement from a point of a box to a hyperplane, within the box."""

import tensorflow as tf

from agkd_tf.attacks.ball import Norm

ROUNDING = 1e-6  # relative growth of t that is left to rounding
ITERATIONS = 100  # far more than are ever needed: about five


def onto_hyperplane(
    points: tf.Tensor,
    normals: tf.Tensor,
    offsets: tf.Tensor,
    *,
    norm: Norm = "linf",
    bounds: tuple[float, float] = (0.0, 1.0),
) -> tf.Tensor:
    """Returns the smallest displacement d with <w, x + d> = b and x + d within the bounds.

    Where no point of the box lies on the hyperplane, d leads to the corner that is nearest to it.

    With the sign of w chosen such that <w, x> must decrease, coordinate i moves by min(t c_i, room_i)
    against sign(w_i). Here c_i is 1 for the maximum norm and |w_i| for the Euclidean one, and room_i is
    the distance to the bound. The total decrease, sum |w_i| min(t c_i, room_i), grows with t and is linear
    between the values of room_i / c_i, so that Newton's method finds t in a few steps, without sorting them.

    Args:
        points: float32 [B, D] within the bounds.
        normals: float32 [B, D], w.
        offsets: float32 [B], b.
        norm: linf or l2, the norm of the displacement's length.
        bounds: least and greatest value of a coordinate.

    Returns:
        float32 [B, D].

    Source: Croce and Hein, Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary Attack,
    ICML 2020, section 2.
    """
    gap = tf.reduce_sum(normals * points, axis=1) - offsets
    direction = tf.where(gap < 0, -1.0, 1.0)[:, None] * normals
    gap, weight = tf.abs(gap)[:, None], tf.abs(normals)
    room = tf.where(direction > 0, points - bounds[0], bounds[1] - points)
    speed = tf.where(weight > 0, weight if norm == "l2" else tf.ones_like(weight), 0.0)

    def shortfall(time: tf.Tensor) -> tf.Tensor:
        return gap - tf.reduce_sum(weight * tf.minimum(time * speed, room), axis=1, keepdims=True)

    def later(time: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        rate = tf.reduce_sum(tf.where(time * speed < room, weight * speed, 0.0), axis=1, keepdims=True)
        after = time + tf.maximum(tf.math.divide_no_nan(shortfall(time), rate), 0.0)
        return after, tf.reduce_any(after > time * (1 + ROUNDING))

    # Newton's method: the total decrease is concave in t, so that t grows towards the solution and, on the last linear
    # piece, reaches it. Coordinates without weight never move.
    time, _ = tf.while_loop(lambda _, grew: grew, later, (tf.zeros_like(gap), True), maximum_iterations=ITERATIONS)
    moved = tf.where(speed > 0, tf.minimum(time * speed, room), 0.0)
    return -tf.sign(direction) * moved
