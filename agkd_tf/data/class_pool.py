"""Training images by class, kept on the device so that a compiled step can draw from them."""

import concurrent.futures
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf

from agkd_tf.data.device_images import DeviceImages
from agkd_tf.data.labels import as_labels
from agkd_tf.errors import InputError, check_range
from agkd_tf.randomness import uniform_integers
from agkd_tf.types import Array


class Rows(Protocol):
    """Images that an integer array can index as in NumPy: an array, a memory-mapped file, `ImagesOnDisk`."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray: ...


class ClassPool:
    """Draws images of given classes uniformly at random, without leaving the device.

    The images are kept as bytes in one variable. If a data set does not fit, set `capacity_per_class`: the pool then
    holds that many images of each class. A defense's `fit` calls `refresh` each epoch, which replaces them by another
    uniform sample that depends on (seed, epoch) alone. Over the epochs every image is drawn equally often; within one
    epoch only the images in the pool are drawn.

    Args:
        images: uint8 [N, H, W, C] (0-255) or float [N, H, W, C] in [0, 1]: an array; or, if the images do
            not fit into host memory, anything that an integer array can index as in NumPy, such as a
            memory-mapped file.
        labels: int [N], or one-hot rows (see `as_labels`).
        num_classes: number of classes; every class needs at least one image.
        capacity_per_class: number of images of each class in the pool at a time; None for all.
        seed: integer; fixes the samples of a bounded pool.

    Raises:
        InputError: if a class has no image, or the shapes or labels are wrong.
    """

    def __init__(
        self,
        images: Rows | Array,
        labels: Array,
        *,
        num_classes: int,
        capacity_per_class: int | None = None,
        seed: int = 0,
    ) -> None:
        check_range("num_classes", num_classes, 1)
        if isinstance(images, list | tuple | tf.Tensor):
            images = np.asarray(images)
        shape = getattr(images, "shape", ("N", "H", "W", "C"))  # a source of rows need not have a shape
        if len(shape) != 4:
            raise InputError(f"ClassPool: images must be [N, H, W, C]. Received: {list(shape)}")
        labels = as_labels(labels, num_classes, count=len(images), prefix="ClassPool: ")
        self._members = [np.flatnonzero(labels == label) for label in range(num_classes)]
        sizes = np.array([len(members) for members in self._members])
        if not sizes.all():
            raise InputError(
                f"ClassPool: no training image of class {int(np.argmin(sizes))} to draw second images from: use more "
                "images (a larger `train_examples`), or a defense without a pool"
            )
        if capacity_per_class is not None:
            check_range("capacity_per_class", capacity_per_class, 1)
        counts = sizes if capacity_per_class is None else np.minimum(sizes, capacity_per_class)
        self.bounded = bool((counts < sizes).any())
        self._source, self._seed, self._kept = images, seed, counts
        self._counts = tf.constant(counts, tf.int32)
        self._labels = tf.constant(np.repeat(np.arange(num_classes), counts), tf.int32)
        self._starts = tf.constant(np.concatenate([[0], np.cumsum(counts)[:-1]]), tf.int32)
        # Positions of the images, class by class; the images of a bounded pool are themselves sorted by class.
        self._places = tf.constant(np.arange(sum(counts)) if self.bounded else np.concatenate(self._members), tf.int32)
        self._images = DeviceImages(self._select(0) if self.bounded else np.asarray(images[np.arange(len(images))]))
        if self.bounded:
            self._reader = concurrent.futures.ThreadPoolExecutor(1)
            self._ahead: dict[int, concurrent.futures.Future[np.ndarray]] = {}

    def _select(self, epoch: int) -> np.ndarray:
        """Returns the images that a bounded pool holds in an epoch, sorted by class."""
        generator = np.random.default_rng([self._seed, epoch])
        rows = np.concatenate(
            [
                generator.choice(members, kept, replace=False)
                for members, kept in zip(self._members, self._kept, strict=True)
            ]
        )
        # A memory-mapped file is fast when read in ascending order; the class order is restored afterwards.
        order = np.argsort(rows)
        images = np.asarray(self._source[rows[order]])
        selected = np.empty_like(images)
        selected[order] = images
        return selected

    def refresh(self, epoch: int) -> None:
        """Replaces a bounded pool's images by the sample of `epoch`; does nothing for a pool of all images.

        The next epoch's sample is then read ahead into host memory while this epoch trains.
        """
        if not self.bounded:
            return
        read = self._ahead.pop(epoch, None)
        self._images.replace(self._select(epoch) if read is None else read.result())
        self._ahead = {epoch + 1: self._reader.submit(self._select, epoch + 1)}

    def sample(self, classes: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Returns one image for each given class, drawn independently and with replacement.

        Args:
            classes: int32 [B].
            seed: int32 [2].

        Returns:
            float32 [B, H, W, C] in [0, 1].
        """
        counts = tf.gather(self._counts, classes)
        offsets = uniform_integers(tf.shape(classes), seed, counts)
        return self._images.take(tf.gather(self._places, tf.gather(self._starts, classes) + offsets))

    def sample_any(self, count: int | tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns `count` images of any class, drawn independently and with replacement.

        Args:
            count: number of images.
            seed: int32 [2].

        Returns:
            (float32 [count, H, W, C] in [0, 1], their labels int32 [count]).
        """
        rows = uniform_integers([count], seed, len(self._labels))
        return self._images.take(tf.gather(self._places, rows)), tf.gather(self._labels, rows)

    def take(self, indices: tf.Tensor) -> tf.Tensor:
        """Returns the images at given positions in the data set; only for a pool that holds all images.

        Args:
            indices: int [B].

        Returns:
            float32 [B, H, W, C] in [0, 1].
        """
        return self._images.take(indices)

    @property
    def variables(self) -> list[keras.Variable]:
        """The variables that hold the images."""
        return self._images.variables

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(H, W, C) of the images."""
        return self._images.image_shape

    @property
    def num_classes(self) -> int:
        """Number of classes, each of which has at least one image."""
        return len(self._members)

    @property
    def nbytes(self) -> int:
        """Bytes that the pool occupies on the device."""
        return self._images.nbytes
