"""Training images by class, resident on the device, to draw from inside a compiled step."""

import math

import numpy as np
import tensorflow as tf

from agkd_tf.data.pixels import as_float, check_pixels
from agkd_tf.errors import InputError, check_range
from agkd_tf.randomness import uniform_integers


class ClassPool:
    """Draws uniform random images of given classes, without leaving the device.

    The images are kept as uint8, sorted by class, in one variable. A data set that does not fit is given
    a `capacity_per_class`: the pool then holds that many images of each class, and `refresh`, which a
    defense's `fit` calls each epoch, replaces them by another uniform sample, as a function of (seed, epoch).
    Over the epochs every image is drawn
    equally often; within one epoch only those in the pool are.

    Args:
        images: uint8 [N, H, W, C] (0-255) or float [N, H, W, C] in [0, 1]: an array, or anything that
            numpy-style integer arrays index, such as a memory-mapped file, where the images do not
            fit into host memory.
        labels: int [N].
        num_classes: number of classes; every class needs an image.
        capacity_per_class: images of each class held at a time; None for all.
        seed: integer, for the samples of a bounded pool.

    Raises:
        InputError: if a class has no image, or shapes and labels do not fit.
    """

    def __init__(self, images, labels, *, num_classes, capacity_per_class=None, seed=0):
        labels = np.asarray(labels).reshape(-1)
        if len(labels) != len(images):
            raise InputError(f"ClassPool: {len(images)} images but {len(labels)} labels")
        self._members = [np.flatnonzero(labels == label) for label in range(num_classes)]
        sizes = np.array([len(members) for members in self._members])
        if sizes.sum() != len(labels):
            raise InputError(
                f"ClassPool: labels must be in [0, {num_classes - 1}]. Received: {labels.min()} to {labels.max()}"
            )
        if not sizes.all():
            raise InputError(f"ClassPool: no training image of class {int(np.argmin(sizes))}")
        if capacity_per_class is not None:
            check_range("capacity_per_class", capacity_per_class, 1)
        self.bounded = capacity_per_class is not None and sizes.max() > capacity_per_class
        counts = np.minimum(sizes, capacity_per_class) if self.bounded else sizes
        self._source, self._seed, self._kept = images, seed, counts
        self._counts = tf.constant(counts, tf.int32)
        self._labels = tf.constant(np.repeat(np.arange(num_classes), counts), tf.int32)
        self._starts = tf.constant(np.concatenate([[0], np.cumsum(counts)[:-1]]), tf.int32)
        self._shape = tuple(images.shape[1:])
        self._packed = tf.Variable(self._select(0), trainable=False, name="class_pool")

    def _select(self, epoch):
        if not self.bounded:
            rows = np.concatenate(self._members)
        else:
            generator = np.random.default_rng([self._seed, epoch])
            rows = np.concatenate(
                [
                    generator.choice(members, kept, replace=False)
                    for members, kept in zip(self._members, self._kept, strict=True)
                ]
            )
        # Ascending reads are what a memory-mapped file is fast at; the class order is restored after.
        order = np.argsort(rows)
        # Four pixels an integer: TensorFlow sends no uint8 variable to other workers.
        size = math.prod(self._shape)
        pixels = np.zeros((len(rows), 4 * -(-size // 4)), np.uint8)
        pixels[order, :size] = _as_uint8(self._source[rows[order]]).reshape(len(rows), size)
        return pixels.view(np.int32)

    def _rows(self, rows):
        """Returns images of the pool, float32 [B, H, W, C] in [0, 1]."""
        pixels = tf.bitcast(tf.gather(self._packed, rows), tf.uint8)
        pixels = tf.reshape(pixels, [-1, 4 * self._packed.shape[1]])[:, : math.prod(self._shape)]
        return as_float(tf.reshape(pixels, [-1, *self._shape]))

    def refresh(self, epoch):
        """Replaces a bounded pool's images by the sample of `epoch`; does nothing otherwise."""
        if self.bounded:
            self._packed.assign(self._select(epoch))

    def sample(self, classes, seed):
        """Returns one image of each given class, drawn independently and with replacement.

        Args:
            classes: int32 [B].
            seed: int32 [2].

        Returns:
            float32 [B, H, W, C] in [0, 1].
        """
        counts = tf.gather(self._counts, classes)
        offsets = uniform_integers(tf.shape(classes), seed, counts)
        rows = tf.gather(self._starts, classes) + offsets
        return self._rows(rows)

    def sample_any(self, count, seed):
        """Returns `count` images of any class, drawn independently and with replacement.

        Args:
            count: number of images.
            seed: int32 [2].

        Returns:
            (float32 [count, H, W, C] in [0, 1], their labels int32 [count]).
        """
        rows = uniform_integers([count], seed, len(self._labels))
        return self._rows(rows), tf.gather(self._labels, rows)

    @property
    def nbytes(self):
        """Bytes that the pool occupies on the device."""
        return 4 * math.prod(self._packed.shape)


def _as_uint8(images):
    images = np.asarray(images)
    check_pixels(images)
    return images if images.dtype == np.uint8 else np.round(images * 255).astype(np.uint8)
