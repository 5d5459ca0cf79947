"""A small smooth network whose gradients have no ties, and images for it, some of them saturated."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers


@pytest.fixture(scope="session")
def network():
    normal = keras.initializers.RandomNormal
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(6, 3, activation="tanh", kernel_initializer=normal(stddev=0.3, seed=1)),
            layers.Flatten(),
            layers.Dense(10, kernel_initializer=normal(stddev=0.2, seed=2)),
        ]
    )


@pytest.fixture(scope="session")
def images():
    return tf.constant(np.clip(np.random.default_rng(0).uniform(-0.3, 1.3, (6, 8, 8, 3)), 0, 1), tf.float32)


@pytest.fixture(scope="session")
def labels():
    return tf.constant([3, 1, 4, 1, 5, 9])
