"""A small smooth network, and images for it, some of them saturated."""

import numpy as np
import pytest
import tensorflow as tf


@pytest.fixture(scope="session")
def network(smooth_network):
    return smooth_network((8, 8, 3))


@pytest.fixture(scope="session")
def images():
    return tf.constant(np.clip(np.random.default_rng(0).uniform(-0.3, 1.3, (6, 8, 8, 3)), 0, 1), tf.float32)


@pytest.fixture(scope="session")
def labels():
    return tf.constant([3, 1, 4, 1, 5, 9])
