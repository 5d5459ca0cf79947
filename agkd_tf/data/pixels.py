"""The one convention of pixel values: float32 in [0, 1]."""

import numpy as np
import tensorflow as tf

from agkd_tf.errors import InputError


def as_float(images):
    """Returns float32 images in [0, 1] of uint8 images 0-255, or of float images already in [0, 1]."""
    if images.dtype == tf.uint8:
        return tf.cast(images, tf.float32) / 255.0
    return tf.cast(images, tf.float32)


def check_pixels(images):
    """Checks a NumPy array of images: uint8, or float in [0, 1].

    Raises:
        InputError: for float images outside [0, 1] or NaN.
    """
    if images.dtype != np.uint8 and len(images):
        low, high = float(np.min(images)), float(np.max(images))
        if not (low >= 0 and high <= 1):  # NaN fails both
            hint = " (divide by 255?)" if high > 1.5 else ""
            raise InputError(f"images must be uint8, or float in [0, 1]{hint}. Received: {low:g} to {high:g}")
