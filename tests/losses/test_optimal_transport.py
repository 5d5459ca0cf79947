import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

from agkd_tf.losses.optimal_transport import cosine_cost, optimal_transport, transport_plan


def transcription(cost):
    """The released iteration, in float64, without this project's guard against underflow."""
    rows, columns = cost.shape
    u, v = np.zeros(rows), np.zeros(columns)
    for _ in range(100):
        old = u
        u = u + 0.01 * (np.log(1 / rows) - np.log(np.exp((u[:, None] + v - cost) / 0.01).sum(1) + 1e-6))
        v = v + 0.01 * (np.log(1 / columns) - np.log(np.exp((u[:, None] + v - cost) / 0.01).sum(0) + 1e-6))
        if np.abs(u - old).sum() < 0.1:
            break
    return np.exp((u[:, None] + v - cost) / 0.01)


def test_the_cost_is_the_cosine_distance_floored_at_zero():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 4)), rng.normal(size=(6, 4))
    cosine = a @ b.T / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(cosine_cost(tf.constant(a), tf.constant(b)), np.maximum(0, 1 - cosine), atol=1e-9)
    assert np.all(np.isfinite(cosine_cost(tf.zeros([2, 3]), tf.zeros([2, 3]))))


@pytest.mark.parametrize("size", [2, 8, 32])
def test_the_plan_equals_its_numpy_transcription(size):
    rng = np.random.default_rng(0)
    cost = rng.uniform(0, 0.2, (size, size))
    np.testing.assert_allclose(transport_plan(tf.constant(cost, tf.float32)), transcription(cost), atol=2e-5)


def test_the_distance_is_what_the_plan_costs():
    rng = np.random.default_rng(0)
    a, b = (tf.constant(rng.normal(size=(8, 5)), tf.float32) for _ in range(2))
    cost = cosine_cost(a, b).numpy().astype(np.float64)
    assert float(optimal_transport(a, b)) == pytest.approx((transcription(cost) * cost).sum(), rel=1e-3)


def test_the_plans_columns_have_the_uniform_marginal_and_its_rows_nearly():
    rng = np.random.default_rng(0)
    plan = transport_plan(tf.constant(rng.uniform(0, 0.05, (16, 16)), tf.float32)).numpy()
    np.testing.assert_allclose(plan.sum(0), 1 / 16, rtol=1e-3)
    np.testing.assert_allclose(plan.sum(1), 1 / 16, rtol=0.3)


def test_converged_it_is_near_the_cheapest_assignment():
    rng = np.random.default_rng(0)
    a, b = (tf.constant(rng.normal(size=(12, 10)), tf.float32) for _ in range(2))
    cost = cosine_cost(a, b).numpy()
    rows, columns = scipy.optimize.linear_sum_assignment(cost)
    plan = tf.function(transport_plan)(tf.constant(cost), iterations=3000, threshold=0.0).numpy()
    np.testing.assert_allclose(plan.sum(1), 1 / 12, rtol=1e-2)
    assert (plan * cost).sum() == pytest.approx(cost[rows, columns].mean(), rel=0.1)


def test_equal_batches_cost_next_to_nothing_and_large_costs_stay_finite():
    rng = np.random.default_rng(0)
    logits = tf.constant(rng.normal(size=(8, 10)), tf.float32)
    assert float(optimal_transport(logits, logits)) < 0.02
    with tf.GradientTape() as tape:  # exp(-1 / 0.01) underflows
        tape.watch(logits)
        value = optimal_transport(-logits, logits)
    assert np.isfinite(float(value))
    assert np.all(np.isfinite(tape.gradient(value, logits)))


def test_the_gradient_flows_through_the_iterations():
    rng = np.random.default_rng(0)
    a, b = (tf.constant(rng.normal(size=(6, 5)), tf.float32) for _ in range(2))

    def transport(b, detach=False):
        # A fixed number of iterations: where the threshold ends them, the value jumps.
        cost = cosine_cost(a, b)
        plan = transport_plan(cost, iterations=5, threshold=0.0)
        return tf.reduce_sum((tf.stop_gradient(plan) if detach else plan) * cost)

    with tf.GradientTape(persistent=True) as tape:
        tape.watch(b)
        whole, detached = transport(b), transport(b, detach=True)
    gradient = tape.gradient(whole, b).numpy()
    assert np.abs(gradient - tape.gradient(detached, b)).max() > 1e-4
    point, numeric, delta = b.numpy().astype(np.float64), np.zeros((6, 5)), 1e-3
    for place in np.ndindex(point.shape):
        step = np.zeros_like(point)
        step[place] = delta
        up, down = (float(transport(tf.constant(point + sign * step, tf.float32))) for sign in (1, -1))
        numeric[place] = (up - down) / (2 * delta)
    np.testing.assert_allclose(gradient, numeric, atol=0.02 * np.abs(numeric).max())


def test_it_is_the_same_with_and_without_xla():
    rng = np.random.default_rng(0)
    a, b = (tf.constant(rng.normal(size=(10, 10)), tf.float32) for _ in range(2))

    def value_and_gradient(b):
        with tf.GradientTape() as tape:
            tape.watch(b)
            value = optimal_transport(a, b)
        return value, tape.gradient(value, b)

    plain = value_and_gradient(b)
    compiled = tf.function(value_and_gradient, jit_compile=True, autograph=False)(b)
    np.testing.assert_allclose(plain[0], compiled[0], rtol=1e-4)
    np.testing.assert_allclose(plain[1], compiled[1], atol=1e-3)


def test_it_can_be_attacked_in_a_loop_beside_what_takes_much_memory():
    """Above some 200 MiB, Grappler rewrites sums of several tensors into what fails in loops within loops."""
    rng = np.random.default_rng(0)
    a, b = (tf.constant(rng.normal(size=(8, 10)), tf.float32) for _ in range(2))

    @tf.function(autograph=False)
    def attack(b):
        def step(number, b):
            with tf.GradientTape() as tape:
                tape.watch(b)
                value = optimal_transport(a, b)
            large = tf.reduce_sum(tf.sin(tf.fill([80_000_000], value)))
            return number + 1, b + 0.1 * tf.sign(tape.gradient(value, b)) + 0.0 * large

        return tf.while_loop(lambda number, b: number < 2, step, (0, b))[1]

    first = attack(b).numpy()
    np.testing.assert_array_equal(attack(b), first)
    assert np.abs(first - b).max() > 0.1
