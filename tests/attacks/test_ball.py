"""The ball in both norms: projection, steps, draws and lengths."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from agkd_tf import InputError
from agkd_tf.attacks import NORMS, Ball
from agkd_tf.attacks.ball import batch_draw
from agkd_tf.randomness import uniform

SHAPE = (4, 3, 2, 3)
CLEAN = tf.constant(np.random.default_rng(0).uniform(0, 1, SHAPE), tf.float32)


def lengths(displacement, norm):
    flat = np.reshape(displacement, (len(displacement), -1))
    return np.abs(flat).max(1) if norm == "linf" else np.linalg.norm(flat, axis=1)


def radii(norm):
    return {"linf": 0.1, "l2": 0.7}[norm]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("each", [False, True])
def test_a_projection_lies_in_ball_and_box_and_leaves_what_lies_there(norm, each):
    eps = radii(norm)
    ball = Ball(norm, tf.reshape(tf.linspace(0.0, eps, 4), [4, 1, 1, 1]) if each else eps)
    far = CLEAN + tf.random.stateless_normal(SHAPE, (0, 1), stddev=0.5)
    near = ball.project(far, CLEAN)
    reached = lengths(near - CLEAN, norm)
    assert np.all(reached <= (np.linspace(0, eps, 4) if each else eps) * (1 + 1e-5) + 1e-6)
    assert each or reached.max() > 0.9 * eps
    assert np.all(ball.contains(near - CLEAN))
    assert near.numpy().min() >= 0
    assert near.numpy().max() <= 1
    np.testing.assert_allclose(ball.project(near, CLEAN), near, atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_the_steepest_step_has_its_length_and_no_direction_gains_more(norm):
    gradient = tf.random.stateless_normal(SHAPE, (0, 2))
    step = Ball(norm, 1.0).steepest(gradient, 0.3)
    np.testing.assert_allclose(Ball(norm, 1.0).length(step), 0.3, rtol=1e-5)
    gain = np.sum(step * gradient, axis=(1, 2, 3))
    flat = np.reshape(gradient, (4, -1))
    dual = np.abs(flat).sum(1) if norm == "linf" else np.linalg.norm(flat, axis=1)
    np.testing.assert_allclose(gain, 0.3 * dual, rtol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_lengths_are_numpys_of_images_and_of_rows(norm):
    moved = CLEAN - 0.5
    np.testing.assert_allclose(Ball(norm, 1.0).length(moved), lengths(moved, norm), rtol=1e-6)
    np.testing.assert_allclose(Ball(norm, 1.0).length(tf.reshape(moved, [4, -1])), lengths(moved, norm), rtol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_only_rounding_lies_beyond_the_radius(norm):
    moved = np.zeros((4, 2, 2, 1), np.float32)
    moved[:, 0, 0, 0] = 0.5, 0.5 * (1 + 5e-6), 0.501, np.nan
    np.testing.assert_array_equal(Ball(norm, 0.5).contains(moved), [True, True, False, False])


@pytest.mark.parametrize("each", [False, True])
def test_training_starts_are_uniform_in_the_l2_ball(each):
    shape = (400, 1, 2, 1)
    eps = tf.fill([400, 1, 1, 1], 0.5) if each else 0.5
    drawn = Ball("l2", eps).sample(shape, (0, 1)).numpy().reshape(400, 2)
    reached = np.linalg.norm(drawn, axis=1)
    assert reached.max() <= 0.5 + 1e-6
    assert scipy.stats.kstest((reached / 0.5) ** 2, "uniform").pvalue > 1e-4
    angles = np.arctan2(drawn[:, 0], drawn[:, 1]) / (2 * np.pi) + 0.5
    assert scipy.stats.kstest(angles, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("each", [False, True])
def test_per_example_draws_lie_in_the_ball_and_those_of_the_edge_on_it(norm, each):
    eps = np.float32([0.1, 0.2, 0.3, 0.4]) if each else np.full(4, 0.2, np.float32)
    ball = Ball(norm, tf.reshape(eps, [4, 1, 1, 1]) if each else 0.2)
    drawn = (tf.constant([5, 1, 3, 2]), (8, 8, 3), (0, 1))
    inside, edge = lengths(ball.sample_per_example(*drawn), norm), lengths(ball.edge_per_example(*drawn), norm)
    assert np.all(inside <= eps * (1 + 1e-6))
    assert np.all(inside > 0.9 * eps)
    np.testing.assert_allclose(edge, eps, rtol=1e-5)


def test_several_batches_are_drawn_as_one_behind_the_other():
    both = batch_draw(uniform, tf.constant(SHAPE), (0, 1), 2)
    np.testing.assert_array_equal(both, tf.reshape(uniform((2, 2, 3, 2, 3), (0, 1)), SHAPE))


@pytest.mark.parametrize(
    ("norm", "eps", "line"),
    [
        ("l1", 0.1, "`norm` must be one of linf, l2. Received: 'l1'"),
        ("linf", 8, r"did you mean 8/255"),
        ("linf", -0.1, "`eps` must be in"),
        ("l2", -0.1, "`eps` must be in"),
        ("l2", float("nan"), "`eps` must be in"),
        ("l2", float("inf"), "`eps` must be a finite number. Received: inf"),
        ("linf", tf.constant(8.0), "did you mean 8/255"),
        ("linf", tf.fill([4], 0.1), r"`eps` must be a number, or a tensor \[B, 1, 1, 1\]"),
        ("linf", "8/255", r"`eps` must be a number, or a tensor \[B, 1, 1, 1\]. Received: '8/255'"),
    ],
)
def test_what_is_no_ball_is_refused(norm, eps, line):
    with pytest.raises(InputError, match=line):
        Ball(norm, eps)
