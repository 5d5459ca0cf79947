"""The one convention of pixel values: float32 in [0, 1]."""

from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf

from agkd_tf.errors import InputError

ALLOWED = "images must be uint8, or float in [0, 1]"


def as_float(images: tf.Tensor) -> tf.Tensor:
    """Returns float32 images in [0, 1] of uint8 images 0-255, or of float images already in [0, 1].

    Raises:
        InputError: for tensors of another type.
    """
    if images.dtype == tf.uint8:
        return tf.cast(images, tf.float32) / 255.0
    check_type(images)
    return tf.cast(images, tf.float32)


def check_pixels(images: np.ndarray | tf.Tensor) -> None:
    """Checks an array or an eager tensor of images: uint8, which its type alone shows, or float in [0, 1].

    Raises:
        InputError: for float images outside [0, 1] or NaN, and for other types.
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
    """Checks the type of an array, tensor or `tf.TensorSpec` of images: uint8 or float.

    Raises:
        InputError: for another type.
    """
    dtype = _type_of(images)
    if dtype is None or not (dtype == tf.uint8 or dtype.is_floating):
        hint = ' (np.asarray(images, "uint8")?)' if dtype is not None and dtype.is_integer else ""
        raise InputError(f"{ALLOWED}{hint}. Received: {getattr(dtype, 'name', images.dtype)}")


def check_shape(images: np.ndarray | tf.Tensor | tf.TensorSpec, image_shape: Sequence[int | None]) -> None:
    """Checks the shape of a batch of images, an array or `tf.TensorSpec`, as far as it is known.

    Args:
        images: [N, H, W, C].
        image_shape: (H, W, C) that is wanted; None for any size.

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
        hint = ", images that are not in batches (dataset.batch(32), or images[None]?)"
    wanted, received = (_written(each) for each in ([None, *image_shape], shape.as_list()))
    raise InputError(f"images must be {wanted}, as the network takes them{hint}. Received: {received}")


def _written(shape: Iterable[int | None]) -> str:
    return f"[{', '.join('any' if size is None else str(size) for size in shape)}]"


def _type_of(images: np.ndarray | tf.Tensor | tf.TensorSpec) -> tf.DType | None:
    """Returns the `tf.DType`, or None where TensorFlow has none."""
    try:
        return tf.as_dtype(images.dtype)
    except TypeError:
        return None
