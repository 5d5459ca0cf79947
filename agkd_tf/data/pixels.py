"""The one convention of pixel values: float32 in [0, 1]."""

import tensorflow as tf


def as_float(images):
    """Returns float32 images in [0, 1] of uint8 images 0-255, or of float images already in [0, 1]."""
    if images.dtype == tf.uint8:
        return tf.cast(images, tf.float32) / 255.0
    return tf.cast(images, tf.float32)
