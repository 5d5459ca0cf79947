"""Checkpoints of PyTorch and Haiku as Keras networks, and Keras networks as PyTorch's state dicts."""

from agkd_tf.checkpoints.network import ImportedNetwork, import_network, import_weights
from agkd_tf.checkpoints.pixel_check import PixelCheck, check_pixels
from agkd_tf.checkpoints.readers import read_checkpoint

__all__ = [
    "ImportedNetwork",
    "PixelCheck",
    "check_pixels",
    "import_network",
    "import_weights",
    "read_checkpoint",
]
