"""Converts and checks images by the library's one convention: pixel values are float32 in [0, 1]."""

from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf

from agkd_tf.errors import InputError

ALLOWED = "images must be uint8, or float in [0, 1]"


def as_float(images: tf.Tensor) -> tf.Tensor:
    """Returns images as float32 in [0, 1], from uint8 images 0-255 or float images already in [0, 1].

    Raises:
        InputError: for tensors of another type.
    """
    if images.dtype == tf.uint8:
        return tf.cast(images, tf.float32) / 255.0
    check_type(images)
    return tf.cast(images, tf.float32)


def check_pixels(images: np.ndarray | tf.Tensor) -> None:
    """Checks that an array or eager tensor of images is uint8 (any value), or float in [0, 1].

    Raises:
        InputError: for NaN or float images outside [0, 1], and for other types.
    """
    check_type(images)
    if images.dtype == tf.uint8:
        return
    images = np.asarray(images)
    if images.size:
        low, high = float(np.min(images)), float(np.max(images))
        if not (low >= 0 and high <= 1):  # NaN fails both
            hint = " (divide by 255?)" if high > 1.5 else " ((images + 1) / 2?)" if -1 <= low < 0 <= high <= 1 else ""
            raise InputError(f"{ALLOWED}{hint}. Received: {low:g} to {high:g}")


def check_type(images: np.ndarray | tf.Tensor | tf.TensorSpec) -> None:
    """Checks that an array, tensor or `tf.TensorSpec` of images is of type uint8 or float.

    Raises:
        InputError: for another type.
    """
    dtype = _type_of(images)
    if dtype is None or not (dtype == tf.uint8 or dtype.is_floating):
        hint = ' (np.asarray(images, "uint8")?)' if dtype is not None and dtype.is_integer else ""
        raise InputError(f"{ALLOWED}{hint}. Received: {getattr(dtype, 'name', images.dtype)}")


def check_shape(images: np.ndarray | tf.Tensor | tf.TensorSpec, image_shape: Sequence[int | None]) -> None:
    """Checks the shape of a batch of images (an array, tensor or `tf.TensorSpec`), as far as it is known.

    Args:
        images: [N, H, W, C].
        image_shape: the required (H, W, C); None for any size.

    Raises:
        InputError: for another shape.
    """
    shape = tf.TensorShape(images.shape)
    if shape.is_compatible_with([None, *image_shape]):
        return
    hint = ""
    if shape.rank is not None and shape.is_compatible_with([None, *image_shape][: shape.rank]) and image_shape[-1] == 1:
        hint = " (images[..., None]?)"
    elif shape.is_compatible_with(image_shape):
        hint = "; these are not in batches (dataset.batch(32), or images[None]?)"
    wanted, received = (_written(each) for each in ([None, *image_shape], shape.as_list()))
    raise InputError(f"images must be {wanted}, as the network takes them{hint}. Received: {received}")


def _written(shape: Iterable[int | None]) -> str:
    return f"[{', '.join('any' if size is None else str(size) for size in shape)}]"


def _type_of(images: np.ndarray | tf.Tensor | tf.TensorSpec) -> tf.DType | None:
    """Returns the images' `tf.DType`, or None if TensorFlow has no such type."""
    try:
        return tf.as_dtype(images.dtype)
    except TypeError:
        return None
