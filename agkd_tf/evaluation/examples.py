"""Turns the images that a user wants to evaluate on into `Examples`."""

import types
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from agkd_tf.data import Examples, ImageDataset
from agkd_tf.data.input_checks import InputChecks, input_errors
from agkd_tf.data.pixels import check_shape
from agkd_tf.errors import InputError

ANY_SHAPE = (None, None, None)


def examples_of(
    x: Any, y: Any = None, *, image_shape: tuple[int, int, int] | None = None, num_classes: int | None = None
) -> Examples:
    """Returns images and labels in any supported form as `Examples`, with the same checks as in `fit`.

    Args:
        x: `Examples`, such as `load_dataset("digits").test`; images [N, H, W, C], uint8 or float in [0, 1], as an
            array, a tensor or a list; a dict of `image` and `label`; a finite `tf.data.Dataset` of images and labels,
            in batches or image by image; or a `keras.utils.PyDataset`.
        y: labels of the images: integers [N], whole floats, or one-hot rows; None if `x` contains them.
        image_shape: required (H, W, C); None for any.
        num_classes: number of classes; None if it is not known.

    Raises:
        InputError: for anything else, or images or labels that do not fit.
    """
    checks = InputChecks(image_shape or ANY_SHAPE, num_classes)
    if isinstance(x, ImageDataset):
        raise InputError(
            f"`x` must be one split of the data set, such as `test` of {x.name}. Received: the whole data set"
        )
    if isinstance(x, Examples):
        _check_alone(y)
        if not len(x):
            raise InputError("there are no images: the data are empty")
        if x.origin is not None and image_shape is not None and tuple(x.images.shape[1:]) != tuple(image_shape):
            raise InputError(
                f"`dataset` {x.origin.dataset} has images of shape {tuple(x.images.shape[1:])}, but the model takes "
                f"{image_shape}"
            )
        check_shape(x.images, checks.image_shape)
        return x
    if isinstance(x, types.GeneratorType):
        raise InputError("`x` may be a generator for training, but not for evaluation: pass arrays or a dataset")
    if isinstance(x, tf.data.Dataset | keras.utils.PyDataset):
        _check_alone(y)
        batches = _of_dataset(x) if isinstance(x, tf.data.Dataset) else (x[number] for number in range(len(x)))
        with input_errors():
            parts = [_images_and_labels(checks.batch(batch)) for batch in batches]
        if not parts:
            raise InputError("there are no images: the dataset is empty")
        images, labels = (np.concatenate(each) for each in zip(*parts, strict=True))
        return Examples(images, labels)
    if not hasattr(x, "shape") and not isinstance(x, dict | list | tuple):
        raise InputError(
            f"`x` must be images, a tf.data.Dataset, or one split of load_dataset(...). Received: {type(x).__name__}"
        )
    if y is None and not isinstance(x, dict | tuple):
        raise InputError("`y`, the labels of the images, is missing")
    return Examples(*_images_and_labels(checks.batch(x if y is None else (x, y), whole=True)))


def _check_alone(y: Any) -> None:
    if y is not None:
        raise InputError("`x` contains the labels already: leave `y` out")


def _of_dataset(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns a dataset of batches."""
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise InputError("`x` never ends: pass dataset.take(COUNT), or the dataset before its repeat()")
    spec = dataset.element_spec
    images = spec.get("image") if isinstance(spec, dict) else spec[0] if isinstance(spec, tuple) else spec
    return dataset.batch(1000) if getattr(images, "shape", tf.TensorShape(None)).rank == 3 else dataset


def _images_and_labels(batch: tuple) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(batch[0], dict):
        batch = (batch[0].get("image"), batch[0]["label"])
    if batch[0] is None:
        raise InputError("a dict must have `image` and `label`. Received: only `label`")
    return np.asarray(batch[0]), np.asarray(batch[1])
