"""Optimal transport between two batches of logits, by Sinkhorn's iteration in the log domain."""

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

FLOOR = 1e-6


def cosine_cost(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Returns the cost matrix C_ij = max(0, 1 - cos(a_i, b_j)), float32 [B, B'].

    Args:
        a, b: float32 [B, n] and [B', n].
    """
    a, b = (tf.math.l2_normalize(rows, axis=1, epsilon=1e-12) for rows in (a, b))
    return tf.nn.relu(1.0 - tf.matmul(a, b, transpose_b=True))


def transport_plan(
    cost: tf.Tensor, *, regularization: float = 0.01, iterations: int = 100, threshold: float = 0.1
) -> tf.Tensor:
    """Returns the transport plan T with uniform marginals found by Sinkhorn's iteration, float32 [B, B'].

        T_ij = exp((u_i + v_j - C_ij) / r), where u = v = 0 at first and are then updated in turn:
        u_i <- u_i + r (log(1 / B) - log(sum_j exp((u_i + v_j - C_ij) / r) + 1e-6)), and v_j in the same way over i

    with r the regularization. Gradients flow through the iterations. The plan couples a whole batch: with several
    replicas, each replica transports its own part of the batch.

    Args:
        cost: C, float32 [B, B'].
        regularization: weight of the plan's entropy, greater than 0; greater values spread the mass more evenly.
        iterations: maximum number of iterations.
        threshold: iteration stops when the change of the rows' potentials, summed over the batch, is less than this.
            With the released code's value, the row marginals are only approximately uniform.

    Source: Cuturi, Sinkhorn Distances, 2013; constants and the floor within the logarithm as in
    Feature Scattering's released code.
    """
    u, v = _potentials(cost, regularization, iterations, threshold)
    return tf.exp((u[:, None] + v[None, :] - cost) / regularization)


def _potentials(
    cost: tf.Tensor, regularization: float, iterations: int, threshold: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the row and column potentials, float32 [B] and [B']."""

    # With large networks on the CPU, Grappler turns sums of several tensors (AddN) into temporary variables, which then
    # collide in a loop within an attack's loop. TensorFlow's own gradient has such sums; this one only subtracts.
    @tf.custom_gradient
    def find(cost: tf.Tensor) -> tuple[tuple[tf.Tensor, tf.Tensor], Callable[[tf.Tensor, tf.Tensor], tf.Tensor]]:
        rows, columns = tf.shape(cost)[0], tf.shape(cost)[1]

        def iterate(
            number: tf.Tensor,
            u: tf.Tensor,
            v: tf.Tensor,
            all_u: tf.TensorArray,
            all_v: tf.TensorArray,
            moved: tf.Tensor,
        ) -> tuple[tf.Tensor, ...]:
            del moved
            new_u, new_v, *_ = _iterate(cost, u, v, regularization)
            all_u, all_v = all_u.write(number, u), all_v.write(number, v)
            return number + 1, new_u, new_v, all_u, all_v, tf.reduce_sum(tf.abs(new_u - u))

        histories = (tf.TensorArray(tf.float32, iterations, element_shape=[size]) for size in cost.shape)
        count, u, v, all_u, all_v, _ = tf.while_loop(
            lambda number, u, v, all_u, all_v, moved: (number < iterations) & (moved >= threshold),
            iterate,
            (0, tf.zeros([rows]), tf.zeros([columns]), *histories, tf.constant(math.inf)),
            parallel_iterations=1,
        )

        def gradient(by_u: tf.Tensor, by_v: tf.Tensor) -> tf.Tensor:
            def back(
                number: tf.Tensor, by_u: tf.Tensor, by_v: tf.Tensor, minus_by_cost: tf.Tensor
            ) -> tuple[tf.Tensor, ...]:
                number -= 1
                _, _, by_row, by_column = _iterate(cost, all_u.read(number), all_v.read(number), regularization)
                through_column = by_v[None, :] * by_column
                by_u -= tf.reduce_sum(through_column, 1)
                through_row = by_u[:, None] * by_row
                by_u, by_v = by_u - tf.reduce_sum(through_row, 1), by_v - tf.reduce_sum(through_column, 0)
                return number, by_u, by_v - tf.reduce_sum(through_row, 0), minus_by_cost - through_row - through_column

            *_, minus_by_cost = tf.while_loop(
                lambda number, by_u, by_v, minus_by_cost: number > 0,
                back,
                (count, by_u, by_v, tf.zeros_like(cost)),
                parallel_iterations=1,
            )
            return -minus_by_cost

        return (u, v), gradient

    return find(cost)


def _iterate(
    cost: tf.Tensor, u: tf.Tensor, v: tf.Tensor, regularization: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the next u and v, and by how much each decreases per increase of (u + v - cost), float32 [B, B'] each."""
    rows, columns = tf.shape(cost)[0], tf.shape(cost)[1]
    new_u, by_row = _update(u, u, v, cost, regularization, rows, 1)
    new_v, by_column = _update(v, new_u, v, cost, regularization, columns, 0)
    return new_u, new_v, by_row, by_column


def _update(
    potential: tf.Tensor,
    u: tf.Tensor,
    v: tf.Tensor,
    cost: tf.Tensor,
    regularization: float,
    count: tf.Tensor,
    axis: int,
) -> tuple[tf.Tensor, tf.Tensor]:
    exponents = (u[:, None] + v[None, :] - cost) / regularization
    log_sum = tf.reduce_logsumexp(exponents, axis=axis)
    # log(exp(log_sum) + FLOOR) without the underflow of a bare exponential.
    floored = tf.maximum(log_sum, math.log(FLOOR)) + tf.math.softplus(-tf.abs(log_sum - math.log(FLOOR)))
    log_marginal = -tf.math.log(tf.cast(count, tf.float32))
    # The slope of `floored` is exp(log_sum - floored) times the softmax of the exponents.
    slope = tf.exp(exponents - tf.expand_dims(floored, axis))
    return potential + regularization * (log_marginal - floored), slope


def optimal_transport(clean_logits: tf.Tensor, adv_logits: tf.Tensor, **settings: Any) -> tf.Tensor:
    """Returns the transport cost sum_ij T_ij C_ij between two batches of logits, a float32 scalar.

    Gradients also flow through the plan T.

    Args:
        clean_logits, adv_logits: float32 [B, n].
        **settings: keyword arguments of `transport_plan`.

    Source: Zhang and Wang, Defense Against Adversarial Attacks Using Feature Scattering-based
    Adversarial Training, NeurIPS 2019.
    """
    cost = cosine_cost(clean_logits, adv_logits)
    return tf.reduce_sum(transport_plan(cost, **settings) * cost)
