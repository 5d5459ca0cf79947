import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.losses import angular_distance, angular_triplet, embedding_norm

A, B, C = np.random.default_rng(0).normal(size=(3, 16, 8))


def distance(a, b):
    return 1 - np.abs((a * b).sum(axis=1)) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


def test_the_distance_equals_its_numpy_transcription():
    np.testing.assert_allclose(angular_distance(A, B), distance(A, B), atol=1e-9)


@pytest.mark.parametrize("margin", [0.03, 0.5])
def test_the_triplet_equals_its_numpy_transcription(margin):
    expected = np.maximum(0, margin + distance(A, B) - distance(A, C)).mean()
    np.testing.assert_allclose(angular_triplet(A, B, C, margin=margin), expected, rtol=1e-6)


def test_a_triplet_worked_out_by_hand():
    anchor = tf.constant([[1.0, 0.0], [0.0, 2.0]])
    positive = tf.constant([[1.0, 1.0], [0.0, -5.0]])  # distances 1 - 1 / sqrt(2) and 0
    negative = tf.constant([[3.0, 4.0], [1.0, 0.0]])  # distances 0.4 and 1
    np.testing.assert_allclose(angular_distance(anchor, positive), [0.29289322, 0.0], atol=1e-6)
    np.testing.assert_allclose(angular_distance(anchor, negative), [0.4, 1.0], atol=1e-6)
    np.testing.assert_allclose(angular_triplet(anchor, positive, negative, margin=0.2), 0.04644661, atol=1e-6)


def test_the_triplet_is_zero_once_every_margin_is_met():
    axes = tf.eye(4)
    assert angular_triplet(axes, 3 * axes, tf.roll(axes, 1, axis=0), margin=0.03) == 0


def test_the_sign_and_the_length_of_a_vector_do_not_matter():
    np.testing.assert_allclose(angular_distance(A, B), angular_distance(-2 * A, 3 * B), atol=1e-9)


def test_the_distance_lies_between_0_and_1():
    rows = tf.constant(np.concatenate([A, A, A]), tf.float32)
    others = tf.constant(np.concatenate([A, 1e3 * A, B]), tf.float32)
    distances = angular_distance(rows, others).numpy()
    assert distances.min() >= 0
    assert distances.max() <= 1


@pytest.mark.parametrize(("a", "b"), [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)])
def test_vectors_of_zeros_give_finite_distances_and_gradients(a, b):
    with tf.GradientTape() as tape:
        rows = tf.fill([2, 3], a), tf.fill([2, 3], b)
        tape.watch(rows)
        distances = angular_distance(*rows)
    np.testing.assert_allclose(distances, [1 - a * b] * 2, atol=1e-6)
    assert np.isfinite(tape.gradient(distances, rows)).all()


def test_the_gradient_reaches_anchor_positive_and_negative():
    gradients, numeric = tf.test.compute_gradient(
        lambda a, b, c: angular_triplet(a, b, c, margin=0.9), [A[:3], B[:3], C[:3]], delta=1e-6
    )
    for analytic, expected in zip(gradients, numeric, strict=True):
        assert np.abs(expected).max() > 1e-3
        np.testing.assert_allclose(analytic, expected, atol=1e-6)


def test_the_norm_is_a_mean_over_batch_and_features():
    np.testing.assert_allclose(embedding_norm(A, B, C), sum((each**2).mean() for each in (A, B, C)), rtol=1e-6)
    first, second = tf.constant([[1.0, 2.0], [3.0, 4.0]]), tf.constant([[2.0, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(embedding_norm(first, second), 8.5)  # 30 / 4 + 4 / 4
