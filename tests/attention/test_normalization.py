import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.attention import normalize_map

MAPS = np.random.default_rng(0).normal(0, 3, (5, 4, 4)).astype(np.float32)


def test_maps_fill_0_to_1_image_by_image():
    normal = normalize_map(tf.constant(MAPS)).numpy()
    np.testing.assert_array_equal(normal.min(axis=(1, 2)), np.zeros(5))
    np.testing.assert_array_equal(normal.max(axis=(1, 2)), np.ones(5))
    np.testing.assert_allclose(normal[2], (MAPS[2] - MAPS[2].min()) / np.ptp(MAPS[2]), atol=1e-6)


def test_a_case_worked_out_by_hand():
    np.testing.assert_allclose(normalize_map(tf.constant([[[1.0, 3.0], [2.0, 5.0]]])), [[[0, 0.5], [0.25, 1]]])


@pytest.mark.parametrize("value", [0.0, 7.5, -1e6])
def test_a_constant_map_becomes_zeros_with_a_finite_gradient(value):
    maps = tf.fill([2, 3, 3], value)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        normal = normalize_map(maps)
        total = tf.reduce_sum(normal)
    np.testing.assert_array_equal(normal, np.zeros((2, 3, 3)))
    assert np.isfinite(tape.gradient(total, maps)).all()


def test_the_scale_of_a_map_does_not_matter():
    np.testing.assert_allclose(normalize_map(MAPS * 1e-3 + 2), normalize_map(MAPS), atol=1e-3)


def test_the_gradient_flows_through_minimum_and_maximum():
    weights = np.random.default_rng(1).normal(size=(2, 3, 3))
    (gradient,), (numeric,) = tf.test.compute_gradient(
        lambda maps: tf.reduce_sum(weights * normalize_map(maps)), [MAPS[:2, :3, :3].astype(np.float64)], delta=1e-6
    )
    np.testing.assert_allclose(gradient, numeric, atol=1e-6)
    np.testing.assert_allclose(gradient.reshape(2, 9).sum(axis=1), 0, atol=1e-9)  # a shift changes nothing
