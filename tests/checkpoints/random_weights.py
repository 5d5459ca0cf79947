"""Weights that NumPy draws by their names alone, the same in the tests and in PyTorch's environment."""

import zlib

import numpy as np


def random_weights(name, shape):
    """Returns float32 weights: kernels with He's deviation, BN's weights and statistics away from ones and zeros."""
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    if len(shape) > 1:
        bound = (6.0 / np.prod(shape[1:])) ** 0.5
        low, high = -bound, bound
    else:
        low, high = (-0.2, 0.2) if name.endswith(("bias", "running_mean")) else (0.5, 1.5)
    return generator.uniform(low, high, shape).astype(np.float32)


def random_images():
    """Returns three images [3, 3, 32, 32] in [0, 1]."""
    return np.random.default_rng(0).random((3, 3, 32, 32)).astype(np.float32)
