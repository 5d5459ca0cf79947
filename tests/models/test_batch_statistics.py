"""BN statistics estimated for given weights."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from agkd_tf import InputError
from agkd_tf.models.batch_statistics import estimate_batch_statistics


@pytest.fixture
def network():
    x = images = keras.Input((6, 6, 1))
    x = layers.BatchNormalization(momentum=0.9, name="first")(layers.Conv2D(3, 3)(x))
    x = layers.BatchNormalization(momentum=0.5, name="second")(layers.Conv2D(2, 3)(layers.ReLU()(x)))
    frozen = layers.BatchNormalization(name="frozen", trainable=False)
    return keras.Model(images, layers.Dense(4)(layers.GlobalAveragePooling2D()(layers.Dropout(0.3)(frozen(x)))))


def test_they_are_the_means_of_the_batches_own_and_the_model_is_as_before(network):
    batches = [tf.random.stateless_uniform([8, 6, 6, 1], [number, 0]) for number in range(3)]
    before = [variable.numpy() for variable in network.variables]
    found = estimate_batch_statistics(network, functools.partial(network, training=True), batches)
    for variable, value in zip(network.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    found = {variable.path: value for variable, value in found}
    assert len(found) == 4
    maps = [network.layers[1](batch).numpy() for batch in batches]  # what the first BN layer normalises
    means = [each.mean((0, 1, 2)) for each in maps]
    variances = [each.var((0, 1, 2)) for each in maps]
    np.testing.assert_allclose(found["first/moving_mean"], np.mean(means, 0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["first/moving_variance"], np.mean(variances, 0), rtol=1e-4)
    normalised = [
        (each - mean) / np.sqrt(variance + 1e-3) for each, mean, variance in zip(maps, means, variances, strict=True)
    ]
    second = [network.layers[4](np.maximum(each, 0)).numpy() for each in normalised]
    np.testing.assert_allclose(
        found["second/moving_variance"], np.mean([each.var((0, 1, 2)) for each in second], 0), rtol=1e-3
    )


@pytest.mark.parametrize("momentum", [0.0, 0.6, 0.99])
def test_a_layer_that_is_called_twice_counts_both_calls_and_one_that_is_not_called_none(momentum):
    class Several(keras.Model):
        def __init__(self):
            super().__init__()
            self.first, self.last = layers.Dense(3), layers.Dense(3)
            self.shared = layers.BatchNormalization(momentum=momentum)
            self.unused = layers.BatchNormalization(momentum=momentum)

        def build(self, shape):
            self.unused.build((None, 3))

        def call(self, inputs, training=False):
            return self.shared(self.last(self.shared(self.first(inputs), training=training)), training=training)

    model, batch = Several(), tf.random.stateless_normal([32, 4], [1, 2])
    model(batch)
    found = estimate_batch_statistics(model, functools.partial(model, training=True), [batch, batch])
    assert [variable.path.split("/")[-2] for variable, _ in found] == 2 * [model.shared.name]
    first = model.first(batch).numpy()
    second = model.last((first - first.mean(0)) / np.sqrt(first.var(0) + 1e-3)).numpy()
    for (_, value), statistic in zip(found, (np.mean, np.var), strict=True):
        expected = (momentum * statistic(first, axis=0) + statistic(second, axis=0)) / (1 + momentum)
        np.testing.assert_allclose(value, expected, rtol=1e-3, atol=1e-5)


def test_without_images_there_are_none(network):
    with pytest.raises(InputError, match="without images"):
        estimate_batch_statistics(network, network, [])
