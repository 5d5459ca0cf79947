"""Images that stay on the accelerator."""

import math
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from agkd_tf.data.image_dataset import ImagesOnDisk
from agkd_tf.data.pixels import as_float, check_pixels
from agkd_tf.errors import InputError, check_choice
from agkd_tf.types import Array

Resident = Literal["auto", True, False]

# How much of an accelerator's memory "auto" may use for images.
RESIDENT_BYTES = 2**31
PIXELS = 8  # per int64


def resolve_resident(resident: Resident, images: np.ndarray | ImagesOnDisk, *, extra: bool = False) -> bool:
    """Returns whether to keep the training images on the device, as a bool.

    Args:
        resident: True, False, or "auto": True with a GPU or TPU if the images take at most 2 GiB.
        images: [N, H, W, C], all training images.
        extra: whether batches have auxiliary images, too, which stay on the host; then "auto" is False.

    Raises:
        InputError: for another value, or True with auxiliary images.
    """
    check_choice("resident", resident, ("auto", True, False))
    if extra and resident is True:
        raise InputError("`resident` images are the data set's own; with `extra_data`, leave `resident` out")
    if resident == "auto":
        if extra:
            return False
        accelerated = tf.config.list_physical_devices("GPU") or tf.config.list_physical_devices("TPU")
        return bool(accelerated) and math.prod(images.shape) <= RESIDENT_BYTES
    return resident


class DeviceImages:
    """Keeps images in a variable on the device, so that batches are gathered without the host.

    Args:
        images: uint8 [N, H, W, C] (0-255) or float [N, H, W, C] in [0, 1].

    Raises:
        InputError: for float images outside [0, 1], or images of another type (see `check_pixels`).
    """

    def __init__(self, images: Array) -> None:
        images = np.asarray(images) if isinstance(images, list | tuple | tf.Tensor) else images
        self._shape = tuple(images.shape[1:])
        self._packed = keras.Variable(packed_pixels(images), trainable=False, dtype="int64", name="images")

    @property
    def variables(self) -> list[keras.Variable]:
        """The variable that holds the images, as `packed_pixels` packs them."""
        return [self._packed]

    def replace(self, images: np.ndarray) -> None:
        """Replaces the images by as many others of the same shape."""
        self._packed.assign(packed_pixels(images))

    def take(self, rows: tf.Tensor) -> tf.Tensor:
        """Returns the images at `rows`, an integer tensor [B], as float32 [B, H, W, C] in [0, 1]."""
        pixels = tf.bitcast(tf.gather(self._packed.value, rows), tf.uint8)
        pixels = tf.reshape(pixels, [-1, PIXELS * self._packed.shape[1]])[:, : math.prod(self._shape)]
        return as_float(tf.reshape(pixels, [-1, *self._shape]))

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(H, W, C) of the images."""
        return self._shape

    @property
    def nbytes(self) -> int:
        """Bytes that the images occupy on the device."""
        return PIXELS * math.prod(self._packed.shape)


def packed_pixels(images: np.ndarray) -> np.ndarray:
    """Packs images into int64 [N, ceil(H W C / 8)]: eight pixels per integer, padded with zeros.

    TensorFlow does not send uint8 variables to other workers, and keeps int32 variables on the host.

    Args:
        images: uint8 [N, H, W, C] (0-255) or float [N, H, W, C] in [0, 1].

    Raises:
        InputError: as for `DeviceImages`.
    """
    size = math.prod(images.shape[1:])
    pixels = np.zeros((len(images), PIXELS * -(-size // PIXELS)), np.uint8)
    pixels[:, :size] = _as_uint8(images).reshape(len(images), size)
    return pixels.view(np.int64)


def _as_uint8(images: np.ndarray) -> np.ndarray:
    images = np.asarray(images)
    check_pixels(images)
    return images if images.dtype == np.uint8 else np.round(images * 255).astype(np.uint8)
