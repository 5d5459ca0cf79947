import numpy as np
import tensorflow as tf

from agkd_tf.attention import class_irrelevant_map


def test_it_is_the_normalised_sum_over_channels():
    features = np.random.default_rng(0).normal(size=(3, 4, 5, 6)).astype(np.float32)
    sums = features.sum(axis=-1)
    low, high = sums.min(axis=(1, 2), keepdims=True), sums.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(class_irrelevant_map(tf.constant(features)), (sums - low) / (high - low), atol=1e-5)


def test_a_case_worked_out_by_hand():
    features = tf.constant([[[[1.0, -3.0], [2.0, 2.0]], [[0.0, 1.0], [0.0, 0.0]]]])  # sums -2, 4, 1, 0
    np.testing.assert_allclose(class_irrelevant_map(features), [[[0, 1], [0.5, 1 / 3]]], atol=1e-6)
