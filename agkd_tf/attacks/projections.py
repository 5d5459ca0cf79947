"""The shortest displacement from a point of a box to a hyperplane, within the box."""

import tensorflow as tf

from agkd_tf.attacks.ball import Norm


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
    between the sorted values of room_i / c_i, where t is solved for.

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
    # Coordinates without weight never move; their limit is never reached.
    limit = tf.where(weight > 0, room / tf.maximum(speed, 1e-30), room.dtype.max)
    order = tf.argsort(limit, axis=1)
    limit, weight_room, weight_speed = (
        tf.gather(values, order, batch_dims=1) for values in (limit, weight * room, weight * speed)
    )
    # Before the k-th limit: the first k - 1 coordinates have used their room, the others still move.
    spent = tf.cumsum(weight_room, axis=1, exclusive=True)
    rate = tf.cumsum(weight_speed, axis=1, reverse=True)
    reached = spent + rate * limit >= gap
    place = tf.argmax(reached, axis=1, output_type=tf.int32)[:, None]
    spent, rate = (tf.gather(values, place, batch_dims=1) for values in (spent, rate))
    solvable = tf.logical_and(tf.reduce_any(reached, axis=1, keepdims=True), rate > 0)
    time = tf.where(solvable, tf.maximum(gap - spent, 0.0) / tf.where(solvable, rate, 1.0), room.dtype.max)
    moved = tf.where(speed > 0, tf.minimum(time * speed, room), 0.0)
    return -tf.sign(direction) * moved
