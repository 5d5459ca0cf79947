"""Optimal transport between two batches of logits, by Sinkhorn's iteration in the log domain."""

import math

import tensorflow as tf

REGULARIZATION = 0.01
FLOOR = 1e-6


def cosine_cost(a, b):
    """Returns float32 [B, B'], C_ij = max(0, 1 - cos(a_i, b_j)).

    Args:
        a, b: float32 [B, n] and [B', n].
    """
    a, b = (tf.math.l2_normalize(rows, axis=1, epsilon=1e-12) for rows in (a, b))
    return tf.nn.relu(1.0 - tf.matmul(a, b, transpose_b=True))


def transport_plan(cost, *, iterations=100, threshold=0.1):
    """Returns the plan T of uniform marginals that Sinkhorn's iteration finds, float32 [B, B'].

    Gradients flow through the iterations. A batch-wide quantity: under several replicas, each
    transports its own part of the batch.

    Args:
        cost: float32 [B, B'].
        iterations: at most so many.
        threshold: they end when the rows' potentials move by less, summed over the batch; the released
            value leaves the rows' marginals loose.

    Source: Cuturi, Sinkhorn Distances, 2013; constants and the floor within the logarithm as in
    Feature Scattering's released code.
    """
    rows, columns = tf.shape(cost)[0], tf.shape(cost)[1]
    log_row, log_column = (-tf.math.log(tf.cast(count, tf.float32)) for count in (rows, columns))

    def update(potential, u, v, log_marginal, axis):
        log_sum = tf.reduce_logsumexp((u[:, None] + v[None, :] - cost) / REGULARIZATION, axis=axis)
        # log(exp(log_sum) + FLOOR) without the underflow of a bare exponential.
        floored = tf.maximum(log_sum, math.log(FLOOR)) + tf.math.softplus(-tf.abs(log_sum - math.log(FLOOR)))
        return potential + REGULARIZATION * (log_marginal - floored)

    def iterate(u, v, moved):
        del moved
        new = update(u, u, v, log_row, 1)
        return new, update(v, new, v, log_column, 0), tf.reduce_sum(tf.abs(new - u))

    u, v, _ = tf.while_loop(
        lambda u, v, moved: moved >= threshold,
        iterate,
        (tf.zeros([rows]), tf.zeros([columns]), tf.constant(math.inf)),
        maximum_iterations=iterations,
        parallel_iterations=1,
    )
    return tf.exp((u[:, None] + v[None, :] - cost) / REGULARIZATION)


def optimal_transport(clean_logits, adv_logits):
    """Returns sum_ij T_ij C_ij between two batches of logits, a float32 scalar.

    The plan is not detached.

    Args:
        clean_logits, adv_logits: float32 [B, n].

    Source: Zhang and Wang, Defense Against Adversarial Attacks Using Feature Scattering-based
    Adversarial Training, NeurIPS 2019.
    """
    cost = cosine_cost(clean_logits, adv_logits)
    return tf.reduce_sum(transport_plan(cost) * cost)
