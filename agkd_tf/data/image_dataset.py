"""The library's form of a data set: three splits of uint8 images with integer labels."""

import dataclasses
import hashlib
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from agkd_tf.data.labels import as_labels
from agkd_tf.errors import InputError

CHUNK = 1000  # images read at once


class ImagesOnDisk:
    """A selection of a memory-mapped array's images, in a given order, read from disk on access.

    Args:
        source: np.memmap [M, H, W, C].
        rows: int [N], positions in `source`.
    """

    def __init__(self, source: np.ndarray, rows: np.ndarray) -> None:
        self._source, self._rows = source, rows
        self.dtype, self.shape = source.dtype, (len(rows), *source.shape[1:])
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: Any) -> np.ndarray:
        """Returns images as an array in memory; `key` is an integer, a slice or an array of integers."""
        return np.asarray(self._source[self._rows[key]])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)

    def take(self, key: slice | np.ndarray) -> "ImagesOnDisk":
        """Returns the images that `key`, a slice or an array of integers, selects, as `ImagesOnDisk`."""
        return ImagesOnDisk(self._source, self._rows[key])


class Origin(NamedTuple):
    """Says which data set and split some examples come from.

    Attributes:
        dataset: the data set's name.
        split: train, validation or test.
        class_names: one name per class.
        first: N if these are the first N images of the split; None for all of them.
    """

    dataset: str
    split: str
    class_names: tuple[str, ...]
    first: int | None = None


@dataclasses.dataclass(frozen=True)
class Examples:
    """One split.

    Attributes:
        images: uint8 [N, H, W, C], NHWC, 0-255: an array in host memory, or `ImagesOnDisk`.
        labels: int32 [N], 0 to num_classes - 1. Integers of other types and one-hot rows are converted (see
            `as_labels`).
        origin: the `Origin` of a data set's own split, or of the first N images of one; None for others.

    Raises:
        InputError: for labels that cannot be converted.
    """

    images: np.ndarray | ImagesOnDisk
    labels: np.ndarray
    origin: Origin | None = None

    def __post_init__(self) -> None:
        if isinstance(self.images, list | tuple | tf.Tensor):
            object.__setattr__(self, "images", np.asarray(self.images))
        object.__setattr__(self, "labels", as_labels(self.labels))

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: slice | np.ndarray) -> "Examples":
        """Returns the examples at `indices` (an integer array or a slice), in that order."""
        images = self.images.take(indices) if isinstance(self.images, ImagesOnDisk) else self.images[indices]
        return Examples(images, self.labels[indices], self._origin_of(indices))

    def _origin_of(self, indices: slice | np.ndarray) -> Origin | None:
        if self.origin is None or not isinstance(indices, slice):
            return None
        begin, end, step = indices.indices(len(self))
        if (begin, step) != (0, 1):
            return None
        return self.origin if end == len(self) else self.origin._replace(first=end)

    def digest(self) -> bytes:
        """Returns the SHA-256 (32 bytes) of the images and labels in order; images are read in chunks."""
        found = hashlib.sha256(f"{self.images.dtype} {self.images.shape}".encode())
        for start in range(0, len(self), CHUNK):
            found.update(np.ascontiguousarray(self.images[start : start + CHUNK]).data)
        found.update(np.asarray(self.labels, np.int64).tobytes())
        return found.digest()


@dataclasses.dataclass(frozen=True)
class ImageDataset:
    """Train, validation and test examples of one data set.

    Attributes:
        name: the data set's name.
        class_names: one name per class; their count is the number of classes.
        train, validation, test: `Examples`. Validation is held out of the training split, or is the user's own
            split. Use the test split for final numbers only. Train and validation may be empty if nothing is
            trained.
        augmentation: name of the augmentation that published work uses on this data set.
    """

    name: str
    class_names: tuple[str, ...]
    train: Examples
    validation: Examples
    test: Examples
    augmentation: str = "none"

    def __post_init__(self) -> None:
        for split in ("train", "validation", "test"):
            examples = self.split(split)
            first = None if examples.origin is None else examples.origin.first
            origin = Origin(self.name, split, tuple(self.class_names), first)
            object.__setattr__(self, split, dataclasses.replace(examples, origin=origin))

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, ...]:
        return self.test.images.shape[1:]

    def split(self, name: str) -> Examples:
        """Returns the `Examples` of the split called `name`."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[name]


#: What a loader returns: (official training split, test split, class names, augmentation).
Official = tuple[Examples, Examples, tuple[str, ...], str]


def check_examples(name: str, examples: Examples, num_classes: int) -> None:
    """Checks the types, shapes and labels of one split.

    Raises:
        InputError: if images are not uint8 NHWC, or labels are out of range.
    """
    images, labels = examples.images, examples.labels
    if images.dtype != np.uint8 or images.ndim != 4:
        raise InputError(f"{name}: images must be uint8 [N, H, W, C]. Received: {images.dtype} {list(images.shape)}")
    as_labels(labels, num_classes, count=len(images), prefix=f"{name}: ")
