"""Auxiliary training images, such as those of a generator, which fill a share of each training batch."""

import dataclasses
import os

import numpy as np

from agkd_tf.data.image_dataset import Examples, ImageDataset
from agkd_tf.data.labels import as_labels
from agkd_tf.errors import InputError, check_range
from agkd_tf.files import check_archive

ARRAYS = ("image", "label")


@dataclasses.dataclass(frozen=True)
class Extra:
    """Auxiliary images and how many of them a batch has.

    Attributes:
        examples: their `Examples`.
        per_batch: how many images of each batch are auxiliary, at least 1.
    """

    examples: Examples
    per_batch: int


def own_per_batch(batch_size: int, extra_per_batch: int, count: int) -> int:
    """Returns how many images of a batch are the data set's own.

    Args:
        batch_size: images per batch.
        extra_per_batch: how many of them are auxiliary.
        count: number of the data set's training images.

    Raises:
        InputError: if there are not as many, or none is left.
    """
    if not extra_per_batch:
        return check_range("batch_size", batch_size, 1, count)
    own = batch_size - extra_per_batch
    if not 1 <= own <= count:
        raise InputError(
            f"`batch_size` {batch_size} with {extra_per_batch} auxiliary images leaves {own} for the data set's own, "
            f"which must be 1 to {count}"
        )
    return own


def load_extra(path: str | os.PathLike[str], dataset: ImageDataset) -> Examples:
    """Returns the images of an .npz file, read into host memory.

    Args:
        path: the file, with `image`, uint8 [N, H, W, C], and `label`, integers [N], places in
            `dataset.class_names`.
        dataset: the `ImageDataset` that they are added to.

    Raises:
        InputError: if there is no such file, or it holds something else, other shapes, or labels out of range.
    """
    prefix = f"`extra_data` {os.fspath(path)}"
    try:
        check_archive(path)
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in ARRAYS if name not in archive]
            if missing:
                held = ", ".join(archive.files) or "nothing"
                raise InputError(f"{prefix} must hold the arrays `image` and `label`. Received: {held}")
            images, labels = (archive[name] for name in ARRAYS)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{prefix} cannot be read as an .npz file: {error}") from error
    wanted = list(dataset.image_shape)
    if images.dtype != np.uint8 or images.ndim != 4 or list(images.shape[1:]) != wanted or not len(images):
        size = ", ".join(map(str, wanted))
        raise InputError(
            f"{prefix}: `image` must be uint8 [N, {size}], as of `dataset` {dataset.name}. "
            f"Received: {images.dtype} {list(images.shape)}"
        )
    labels = as_labels(labels, dataset.num_classes, count=len(images), prefix=f"{prefix}: ")
    return Examples(images, labels)
