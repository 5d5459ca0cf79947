import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.attention import class_average_map, mean_class_map


def test_a_case_worked_out_by_hand():
    features = tf.constant([[[[0.0, 0.0], [4.0, 0.0], [2.0, 2.0]]]])  # 1 x 3 places, 2 channels
    # 2 classes, of maps 0 4 2 and 0 0 -20: normalised 0 1 0.5 and 1 1 0; as they are, their mean is 0 2 -9.
    kernel = tf.constant([[1.0, 0.0], [0.0, -10.0]])
    np.testing.assert_allclose(class_average_map(features, kernel), [[[1 / 3, 1.0, 0.0]]], atol=1e-6)
    np.testing.assert_allclose(mean_class_map(features, kernel), [[[9 / 11, 1.0, 0.0]]], atol=1e-6)


@pytest.mark.parametrize("average", [class_average_map, mean_class_map])
def test_the_weights_carry_no_gradient(average):
    features, kernel = (tf.random.stateless_uniform(shape, (0, 0)) for shape in ([3, 4, 4, 5], [5, 4]))
    with tf.GradientTape() as tape:
        tape.watch([features, kernel])
        total = tf.reduce_sum(average(features, kernel))
    by_features, by_kernel = tape.gradient(total, [features, kernel])
    assert np.any(by_features)
    assert by_kernel is None
